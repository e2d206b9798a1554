/** Says so when the page has not started: a module was lost on the way, or the browser is too old for them. Itself for any browser. */

window.addEventListener("load", function () {
  var words = document.getElementById("stopped");
  if (words) words.hidden = false;
});
