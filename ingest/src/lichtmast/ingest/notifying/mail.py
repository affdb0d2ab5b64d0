"""E-mail: a message of plain text, handed to the operator's mail server in a thread of its own.

The Message-ID is made of the letter's id: a second copy is the same message, and mail programs show it once. Will not
look up mail exchangers: the operator's server does that, with its queue and its reputation.
"""

import asyncio
import contextlib
import smtplib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from ipaddress import IPv6Address
from typing import Final

from lichtmast.ingest.notifying.limits import ATTEMPT_TIMEOUT_S, CONNECT_TIMEOUT_S, SHOWN_BYTES_MAX
from lichtmast.ingest.notifying.settings import SmtpSecurity, SmtpSettings
from lichtmast.ingest.notifying.wording import in_words
from lichtmast.registry.notifying import Answer, Letter
from lichtmast.registry.notifying.plain import plain

_READY: Final = 220
_FINAL: Final = 500
"""From this reply code on a mail server will not change its mind (RFC 5321 4.2.1)."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def mail_of(letter: Letter, settings: SmtpSettings, page_url: str, now_us: int) -> EmailMessage:
    """The message. No name can add a header to it: values are one line, and the library refuses any other."""
    words = in_words(letter, page_url)
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"Lichtmast <{settings.sender}>"
    mail["To"] = letter.channel.draft.target
    mail["Subject"] = words.subject
    mail["Date"] = format_datetime(_EPOCH + timedelta(microseconds=now_us))
    mail["Message-ID"] = f"<{letter.id}@{settings.domain}>"
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    episodes = {one.episode_id for one in letter.notices}
    if len(episodes) == 1:
        mail["References"] = f"<alert-{episodes.pop()}@{settings.domain}>"  # one thread an alert
    mail.set_content(words.text)
    return mail


async def send_mail(letter: Letter, settings: SmtpSettings | None, page_url: str, now_us: int) -> Answer:
    """Hand it over; what the server said."""
    if settings is None:
        return Answer(accepted=False, words="no mail server is set; name one in notifications.toml and start again")
    mail = mail_of(letter, settings, page_url, now_us)
    try:
        connection = _connection(settings)
    except OSError as error:  # the file with certificates
        return _unreached(settings, error)
    try:
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
            return await asyncio.to_thread(_deliver, connection, settings, letter.channel.draft.target, mail)
    except TimeoutError:
        return Answer(accepted=False, words=f"{settings.host} did not answer within {ATTEMPT_TIMEOUT_S:.0f} s")
    finally:
        _cut(connection)  # a thread cannot be cancelled, but what it waits for can end


def _connection(settings: SmtpSettings) -> smtplib.SMTP:
    """Not connected yet."""
    # With a name for itself: without, the library would ask the network for one, here, and wait for it.
    if settings.security is SmtpSecurity.TLS:
        return smtplib.SMTP_SSL(local_hostname=settings.domain, timeout=CONNECT_TIMEOUT_S, context=_tls(settings))
    return smtplib.SMTP(local_hostname=settings.domain, timeout=CONNECT_TIMEOUT_S)


def _tls(settings: SmtpSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.ca_file)


def _deliver(connection: smtplib.SMTP, settings: SmtpSettings, to: str, mail: EmailMessage) -> Answer:
    try:
        connection._host = settings.host  # type: ignore[attr-defined] # noqa: SLF001 - what certificates are checked against; set only by the constructor, which would connect at once
        code, said = connection.connect(settings.host, settings.port)
        if code != _READY:
            raise smtplib.SMTPConnectError(code, said)
        _require_protection(connection, settings)
        if settings.user:
            connection.login(settings.user, settings.password)
        connection.sendmail(settings.sender, [to], mail.as_bytes())
    except smtplib.SMTPRecipientsRefused as refused:
        code, said = refused.recipients[to]
        return _no(settings, code, said, final=code >= _FINAL)
    except smtplib.SMTPResponseException as refused:
        final = isinstance(refused, smtplib.SMTPDataError) and refused.smtp_code >= _FINAL
        return _no(settings, refused.smtp_code, refused.smtp_error, final=final)
    except (OSError, smtplib.SMTPException) as error:
        return _unreached(settings, error)
    else:
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()  # it has said yes; how it says goodbye changes nothing
    finally:
        connection.close()
    return Answer(accepted=True, words=f"{settings.host} took the message for {to}")


def _require_protection(connection: smtplib.SMTP, settings: SmtpSettings) -> None:
    if settings.security is SmtpSecurity.STARTTLS:
        connection.starttls(context=_tls(settings))
    if settings.security is SmtpSecurity.NONE:
        peer = str(connection.sock.getpeername()[0]) if connection.sock else ""
        if not IPv6Address(peer.partition("%")[0]).is_loopback:
            raise smtplib.SMTPException(f"{peer} is not this machine, and off it mail is encrypted")


def _unreached(settings: SmtpSettings, error: Exception) -> Answer:
    said = plain(str(error), SHOWN_BYTES_MAX) or type(error).__name__
    return Answer(accepted=False, words=f"{settings.host} port {settings.port} cannot be reached: {said}")


def _no(settings: SmtpSettings, code: int, said: bytes | str, *, final: bool) -> Answer:
    words = said.decode(errors="replace") if isinstance(said, bytes) else said
    return Answer(accepted=False, words=f"{settings.host} said {code} {plain(words, SHOWN_BYTES_MAX)}", final=final)


def _cut(connection: smtplib.SMTP) -> None:
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
