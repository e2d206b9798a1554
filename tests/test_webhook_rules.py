"""Where webhooks may go."""

import base64

import pytest

from app.webhook_rules import Rules, secrets_in

RULES = Rules.of(("hooks.example.org", ".example.net", "10.1.0.0/16", "fd00::1"))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org/a?b=c",
        "https://HOOKS.example.org.:8443/",
        "http://hooks.example.org",
        "https://a.example.net/",
        "https://b.a.example.net",
        "http://10.1.2.3:8080/hook",
        "https://[fd00::1]/",
        f"{'https://hooks.example.org/':a<2048}",
    ],
)
def test_listed_hosts_are_allowed(url: str) -> None:
    assert RULES.complaint(url) == ""


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("https://example.org/", "example.org is none of the hosts"),
        ("https://example.net/", "example.net is none of the hosts"),
        ("https://badexample.net/", "none of the hosts"),
        ("https://hooks.example.org.evil.org/", "none of the hosts"),
        ("https://badhooks.example.org/", "none of the hosts"),
        ("https://a.hooks.example.org/", "none of the hosts"),
        ("https://10.2.0.1/", "none of the hosts"),
        ("https://8.8.8.8/", "none of the hosts"),
        ("https://127.0.0.1/", "none of the hosts"),
        ("https://[::ffff:127.0.0.1]/", "none of the hosts"),
        ("https://2130706433/", "none of the hosts"),
        ("https://hooks.example.org@evil.org/", "neither a user name nor a fragment"),
        ("https://hooks.example.org/#a", "neither a user name nor a fragment"),
        ("ftp://hooks.example.org/", "has to be an address such as"),
        ("file:///etc/passwd", "has to be an address such as"),
        ("hooks.example.org", "has to be an address such as"),
        ("https://hooks.example.org:0/", "has to be an address such as"),
        ("https://hooks.example.org:99999/", "has to be an address such as"),
        ("https://[fd00::1", "has to be an address such as"),
        ("https://hooks.example.org/a b", "printable ASCII"),
        ("https://hooks.example.org/\r\nX: y", "printable ASCII"),
        ("https://hooks.example.org/é", "printable ASCII"),
        (f"{'https://hooks.example.org/':a<2049}", "at most 2048"),
    ],
)
def test_hosts_that_are_not_listed_are_refused(url: str, complaint: str) -> None:
    assert complaint in RULES.complaint(url)


@pytest.mark.parametrize(
    "host",
    [
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "%31%32%37.0.0.1",
        "evil.org\\.example.net",
        "evil.org%00.example.net",
        "evil.org;.example.net",
        ".example.net",
        "a..example.net",
        "-.example.net",
        "[::1].example.net",
    ],
)
def test_hosts_that_parsers_may_read_differently_are_refused(host: str) -> None:
    assert Rules.of(("*", ".example.net")).complaint(f"https://{host}/")


def test_https_is_required_unless_networks_are_listed() -> None:
    assert Rules.of(("example.org",)).complaint("http://example.org/") == "has to begin with https://"


def test_a_star_allows_every_public_host_and_no_internal_one() -> None:
    rules = Rules.of(("*",))
    assert [rules.complaint(f"https://{host}/") for host in ("example.com", "8.8.8.8", "[2606:4700::1111]")] == 3 * [""]
    for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[fe80::1]", "0.0.0.0"):
        assert rules.complaint(f"https://{host}/")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("10.1.255.1", True),
        ("::ffff:10.1.0.1", True),
        ("fd00::1", True),
        ("10.2.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("fec0::1", False),
        ("172.16.0.1", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("fd00::2", False),
        ("ff02::1", False),
        ("64:ff9b::808:808", True),  # 8.8.8.8 by NAT64
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:7f00:1::", False),
        ("2002:a00:1::1", False),
        ("2001:0:808:808::f5fe:fffe", True),  # 10.1.0.1 by Teredo, with the server 8.8.8.8
        ("2001:0:808:808::80ff:fffe", False),  # 127.0.0.1
        ("4000::1", False),  # reserved by IETF
        ("ff0e::1", False),
    ],
)
def test_a_name_may_resolve_to_public_and_listed_addresses_only(address: str, allowed: bool) -> None:
    assert RULES.allows(address, encrypted=True) is allowed


def test_without_tls_only_listed_addresses_are_allowed() -> None:
    assert RULES.allows("10.1.0.1", encrypted=False)
    assert not RULES.allows("93.184.216.34", encrypted=False)


@pytest.mark.parametrize(
    "entry", ["", "https://example.org", "example.org/x", "a b", "*.example.org", "10.0.0.1/8", "-", "a." * 127 + "b"]
)
def test_an_entry_that_is_not_a_host_or_network_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is neither a host"):
        Rules.of((entry,))


def secret(length: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(length))).decode()


def test_secrets_keep_their_order() -> None:
    assert secrets_in(secret(24)) == (bytes(range(24)),)
    assert secrets_in(f"{secret(32)}\n{secret(64)} ") == (bytes(range(32)), bytes(range(64)))


@pytest.mark.parametrize(
    "text", [secret(23), secret(65), "whsec_AAAA", "whsec_!", secret(32) + "!", base64.b64encode(bytes(32)).decode()]
)
def test_an_invalid_secret_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match="a secret is whsec_") as caught:
        secrets_in(text)
    assert text not in str(caught.value)
