// Upscale a picture with fetch: node upscale.mjs photo.jpg [http://127.0.0.1:8000]
// Writes photo_x4.png, and photo_x2.png from the same pass. Needs Node 18 or later and no packages; `upscale` also works in a browser.
import { readFile, writeFile } from "node:fs/promises";
import { parse, join } from "node:path";

/** Uploads the picture as a job, reports its progress, and returns the bytes of both levels. */
export async function upscale(bytes, service, onProgress = () => {}) {
  const form = new FormData();
  form.append("image", new Blob([bytes]));
  const started = await send(`${service}/upscale?scale=4`, {
    method: "POST",
    body: form,
    headers: { Prefer: "respond-async" },
  });
  const jobUrl = new URL(started.headers.get("Location"), service);
  let job = await started.json();
  while (job.state === "queued" || job.state === "running") {
    await pause(0.2);
    job = await (await send(jobUrl)).json();
    onProgress(job.progress.done, job.progress.total);
  }
  if (job.state !== "done") throw new Error(job.error ? `${job.error.title}: ${job.error.detail}` : job.state);
  const level = async (n) => new Uint8Array(await (await send(new URL(job.results[n], service))).arrayBuffer());
  return { x2: await level(2), x4: await level(4) };
}

/** fetch that retries after Retry-After when the service is busy, and throws problem documents as errors. */
async function send(url, options, retries = 5) {
  const answer = await fetch(url, options).catch((error) => {
    throw new Error(`no answer from ${new URL(url).origin}: ${error.cause?.code ?? error.message}`);
  });
  if (answer.ok) return answer;
  if ([429, 503].includes(answer.status) && retries > 0) {
    await pause(Number(answer.headers.get("Retry-After")) || 1);
    return send(url, options, retries - 1);
  }
  const problem = await answer.json().catch(() => ({ title: answer.statusText, detail: "" }));
  throw new Error(`${answer.status} ${problem.title}: ${problem.detail}`);
}

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

const [picture, service = "http://127.0.0.1:8000"] = process.argv.slice(2);
if (picture) {
  const { dir, name } = parse(picture);
  try {
    const { x2, x4 } = await upscale(await readFile(picture), service.replace(/\/$/, ""), (done, total) =>
      process.stderr.write(`\r${done} of ${total} tiles`),
    );
    process.stderr.write("\n");
    await writeFile(join(dir, `${name}_x2.png`), x2);
    await writeFile(join(dir, `${name}_x4.png`), x4);
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
