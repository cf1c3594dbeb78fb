"""A URL from outside is called only at addresses that were judged, and says why when it is not."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from parley_core.guardedhttp import GuardedTransport, ResponseTooLarge, guarded_client
from parley_core.urlguard import UrlGuard, UrlRefused, allowed

LOOPBACK = (ip_network("127.0.0.0/8"),)


def names(**table: str) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """A resolver that knows just these names (dots written as double underscores)."""
    known = {name.replace("__", "."): answer.split() for name, answer in table.items()}

    async def look_up(host: str, port: int) -> Sequence[str]:
        if host not in known:
            raise socket.gaierror("no such name")
        return known[host]

    return look_up


class RebindingResolver:
    """A fake for fault injection: each question is answered by the next of its answers, then by the last."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [answer]


HOSTILE = [
    "http://127.0.0.1/",
    "http://127.1.2.3:8080/x",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/v2/credentials",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.7/",
    "http://203.0.113.9/",
    "http://192.0.0.8/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::1]:6379/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a00:1]/",
    "http://[::127.0.0.1]/",
    "http://[2002:7f00:1::]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2001:0:7f00:1:0:0:80ff:fffe]/",
    "http://[2606:4700::5efe:7f00:1]/",
    "http://[4000::1]/",
    "http://[::ffff:0:127.0.0.1]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://00000177.1/",
    "http://1.2.3.256/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./",
    "http://public.example./",
    "http://public..example/",
    "http://.public.example/",
    "http://%31%32%37.0.0.1/",
    "http://127%2e0%2e0%2e1/",
    "http://１２７.0.0.1/",
    "http://127。0。0。1/",
    "http://ⓛocalhost/",
    "http://①②⑦.0.0.1/",
    "http://user@public.example/",
    "http://user:secret@public.example/",
    "http://@public.example/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1#@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\\.evil/",
    "http://public.example /",
    " http://public.example/",
    "http://public.example/\r\nHost: inner",
    "http://public.example/\x00",
    "http://public.example:0/",
    "http://public.example:65536/",
    "http://public.example:-1/",
    "http://public.example:http/",
    "http://[::1",
    "http://[::g]/",
    "http://[127.0.0.1]/",
    "http:///path",
    "http://",
    "http:public.example",
    "//public.example/",
    "public.example/path",
    "",
    "ftp://public.example/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_x",
    "javascript:alert(1)",
    "ws://public.example/",
    "unix:///run/docker.sock",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 130 + "example/",
    "http://public.example/" + "a" * 3000,
    "http://-public.example/",
    "http://pub!lic.example/",
    "http://inner.example/",
    "http://both.example/",
    "http://six.example/",
    "http://scoped.example/",
    "http://metadata.example/",
    "http://empty.example/",
    "http://nonsense.example/",
    "http://unknown.example/",
    "http://localhost/",
]


@pytest.mark.parametrize("url", HOSTILE, ids=[ascii(url)[:60] for url in HOSTILE])
async def test_a_hostile_url_is_refused(url: str) -> None:
    guard = UrlGuard(
        resolver=names(
            public__example="93.184.215.14",
            inner__example="10.1.2.3",
            both__example="93.184.215.14 127.0.0.1",
            six__example="2606:4700::1111 ::1",
            scoped__example="fe80::1%eth0",
            metadata__example="169.254.169.254",
            empty__example="",
            nonsense__example="not-an-address",
            localhost="127.0.0.1",
        )
    )
    with pytest.raises(UrlRefused) as refused:
        await guard.check(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://public.example/hook?x=1", "public.example", 443),
        ("http://public.example/", "public.example", 80),
        ("HTTP://PUBLIC.example:8443/", "public.example", 8443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
        ("https://93.184.215.14/", "93.184.215.14", 443),
        ("https://[2606:4700::1111]:444/", "2606:4700::1111", 444),
        ("https://[::ffff:93.184.215.14]/", "::ffff:93.184.215.14", 443),
        ("https://[64:ff9b::5db8:d70e]/", "64:ff9b::5db8:d70e", 443),
        ("https://under_score.example/a@b", "under_score.example", 443),
    ],
)
async def test_a_public_url_is_let_through(url: str, host: str, port: int) -> None:
    table = names(
        public__example="93.184.215.14",
        under_score__example="93.184.215.14",
        **{"xn--bcher-kva__example": "93.184.215.14"},
    )
    target = await UrlGuard(resolver=table).check(url)
    assert (target.url, target.host, target.port) == (url, host, port)
    assert target.addresses


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_only_addresses_of_the_public_internet_are_ever_let_through(
    address: IPv4Address | IPv6Address,
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    try:
        asyncio.run(UrlGuard().check(f"http://{host}/"))
    except UrlRefused:
        return
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert (inner or address).is_global
    assert not (inner or address).is_multicast


@given(st.text(max_size=60))
def test_any_text_is_refused_or_let_through_but_never_an_accident(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/"):
        with suppress(UrlRefused):
            asyncio.run(UrlGuard(resolver=names()).check(url))


async def test_the_refusal_names_the_rule_and_how_to_allow_it() -> None:
    with pytest.raises(UrlRefused, match=r"private address \(10\.0\.0\.0/8\).*--push-allow 10\.0\.0\.0/8"):
        await UrlGuard().check("http://10.1.2.3/")


async def test_the_refusal_does_not_tell_what_an_inner_name_resolves_to() -> None:
    with pytest.raises(UrlRefused) as refused:
        await UrlGuard(resolver=names(db__inner="10.1.2.3")).check("http://db.inner/?key=secret")
    assert "10.1.2.3" not in str(refused.value)
    assert "secret" not in str(refused.value)


async def test_an_allowed_block_opens_itself_and_its_mapped_form_alone() -> None:
    guard = UrlGuard(LOOPBACK)
    assert (await guard.check("http://127.0.0.1:9/")).port == 9
    assert (await guard.check("http://[::ffff:127.0.0.1]/")).host == "::ffff:127.0.0.1"
    for other in ("http://10.0.0.1/", "http://[::1]/"):
        with pytest.raises(UrlRefused):
            await guard.check(other)


async def test_a_metadata_address_is_opened_only_by_naming_it_alone() -> None:
    url = "http://169.254.169.254/"
    for broad in ("0.0.0.0/0", "169.254.0.0/16", "169.254.169.254/31"):
        with pytest.raises(UrlRefused, match="metadata"):
            await UrlGuard([ip_network(broad)]).check(url)
    assert await UrlGuard([ip_network("169.254.169.254/32")]).check(url)


async def test_a_resolver_that_never_answers_ends_in_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parley_core.urlguard.RESOLVE_SECONDS", 0.05)

    async def silent_resolver(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(UrlRefused, match="does not resolve"):
        await UrlGuard(resolver=silent_resolver).check("http://slow.example/")


@asynccontextmanager
async def raw_server(
    answer: bytes, hold: float = 0.0, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every request with these bytes; yields its port and the requests it saw."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            for at in range(0, len(answer), 1024):
                writer.write(answer[at : at + 1024])
                await writer.drain()
            await asyncio.sleep(hold)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, address, 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


def ok(body: bytes = b"", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


async def test_a_name_that_is_rebound_after_the_check_is_not_called() -> None:
    async with raw_server(ok()) as (port, seen):
        resolver = RebindingResolver("93.184.215.14", "127.0.0.1")
        guard = UrlGuard(resolver=resolver)
        url = f"http://rebound.example:{port}/"
        await guard.check(url)
        async with guarded_client(guard) as client:
            with pytest.raises(UrlRefused, match="loopback"):
                await client.post(url)
        assert resolver.asked == 2
        assert seen == []


async def test_a_call_resolves_once_and_connects_to_that_very_address() -> None:
    async with raw_server(ok(b"fine")) as (port, seen):
        resolver = RebindingResolver("127.0.0.1", "10.0.0.1")
        async with guarded_client(UrlGuard(LOOPBACK, resolver=resolver)) as client:
            answer = await client.get(f"http://pinned.example:{port}/a?b=c")
        assert answer.text == "fine"
        assert resolver.asked == 1
        assert b"host: pinned.example:%d" % port in seen[0].lower()
        assert seen[0].startswith(b"GET /a?b=c ")


async def test_a_redirect_is_not_followed_even_by_a_client_that_would() -> None:
    async with raw_server(ok(b"inner")) as (inner, inner_seen):
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % inner
        async with raw_server(moved) as (port, _):
            guard = UrlGuard(LOOPBACK)
            async with httpx.AsyncClient(transport=GuardedTransport(guard), follow_redirects=True) as client:
                answer = await client.get(f"http://127.0.0.1:{port}/")
        assert answer.status_code == 302
        assert inner_seen == []


async def test_a_body_is_read_no_further_than_allowed() -> None:
    async with raw_server(ok(b"x" * 100_000)) as (port, _):
        async with guarded_client(UrlGuard(LOOPBACK), max_body=4096) as client:
            with pytest.raises(ResponseTooLarge, match="4096"):
                await client.get(f"http://127.0.0.1:{port}/")


async def test_a_compressed_body_is_not_unpacked() -> None:
    async with raw_server(ok(b"x", b"Content-Encoding: gzip\r\n")) as (port, seen):
        async with guarded_client(UrlGuard(LOOPBACK)) as client:
            with pytest.raises(ResponseTooLarge, match="compressed"):
                await client.get(f"http://127.0.0.1:{port}/")
        assert b"accept-encoding: identity" in seen[0].lower()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx"])
async def test_an_answer_that_stalls_ends_at_the_deadline(answer: bytes) -> None:
    async with raw_server(answer, hold=30) as (port, _):
        guard = UrlGuard(LOOPBACK)
        async with httpx.AsyncClient(transport=GuardedTransport(guard, seconds=0.2), timeout=None) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(f"http://127.0.0.1:{port}/")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate of hook.example, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "hook.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + private)
    return path


async def test_over_tls_the_name_of_the_url_is_asked_for_and_verified(certificate: Path) -> None:
    asked: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: asked.append(name)
    table = names(hook__example="127.0.0.1", other__example="127.0.0.1")
    async with raw_server(ok(b"secure"), tls=context) as (port, _):
        async with guarded_client(UrlGuard(LOOPBACK, resolver=table), verify=str(certificate)) as client:
            assert (await client.get(f"https://hook.example:{port}/")).text == "secure"
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
                await client.get(f"https://other.example:{port}/")
    assert asked == ["hook.example", "other.example"]


async def test_a_closed_port_is_an_ordinary_connection_error() -> None:
    async with raw_server(ok()) as (port, _):
        pass
    async with guarded_client(UrlGuard(LOOPBACK)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{port}/")


async def test_the_second_address_is_tried_when_the_first_is_dead() -> None:
    async with raw_server(ok(b"second"), address="127.0.0.2") as (port, _):
        guard = UrlGuard(LOOPBACK, resolver=names(two__example="127.0.0.1 127.0.0.2"))
        async with guarded_client(guard) as client:
            assert (await client.get(f"http://two.example:{port}/")).text == "second"


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(ok(b"proxy")) as (proxy, proxied), raw_server(ok(b"direct")) as (port, _):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy}")
        async with guarded_client(UrlGuard(LOOPBACK)) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).text == "direct"
        assert proxied == []


async def test_a_host_that_is_named_may_be_called_wherever_it_is_and_no_other() -> None:
    places = names(
        **{
            "team-orchestrator.team.svc.cluster.local": "10.96.0.7",
            "postgres.team.svc.cluster.local": "10.96.0.8",
            "meta.team.svc.cluster.local": "169.254.169.254",
        }
    )
    named = ["Team-Orchestrator.team.svc.cluster.local", "meta.team.svc.cluster.local"]
    guard = UrlGuard(hosts=named, resolver=places)
    target = await guard.check("http://team-orchestrator.team.svc.cluster.local/push/children")
    assert [str(one) for one in target.addresses] == ["10.96.0.7"]
    for url in (
        "http://postgres.team.svc.cluster.local/",
        "http://10.96.0.7/push/children",
        "http://meta.team.svc.cluster.local/",
    ):
        with pytest.raises(UrlRefused):
            await guard.check(url)


def test_a_list_of_networks_and_hosts_is_read_and_what_is_neither_is_named() -> None:
    networks, hosts = allowed(["10.96.0.0/12", "Team-orchestrator.team.svc", "fd00::/8"])
    assert [str(one) for one in networks] == ["10.96.0.0/12", "fd00::/8"]
    assert hosts == ["team-orchestrator.team.svc"]
    for wrong in ("10.0.0.0/33", "10.0.0", "http://host", "a host", "*.team.svc", ""):
        with pytest.raises(ValueError, match="neither a network"):
            allowed([wrong])
