"""Mail: given to the host's mail program, or to a mail server."""

from __future__ import annotations

import smtplib
import socket
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from urllib.parse import parse_qs

from holdfast.errors import InvalidOption, NotDelivered
from holdfast.policy.message import Message
from holdfast.policy.notifications.program import run_program
from holdfast.policy.notifications.protocol import SECONDS

SENDMAIL = Path("/usr/sbin/sendmail")
SMTP_PORT = 25


class MailNotification:
    """`mail:ops@example.org`, `mail:ops@example.org?server=mail.example.org:587`.

    Without a server sendmail(8) gets it, where there is one, else the host's own port 25. Plain
    SMTP, with TLS where the server offers it.
    """

    scheme = "mail"
    example = "mail:ops@example.org"

    def check(self, rest: str) -> None:
        """Raise InvalidOption unless it is an address, with a server perhaps."""
        _parse(rest)

    def place(self, rest: str) -> str:
        """The address."""
        return _parse(rest)[0]

    def send(self, rest: str, message: Message) -> None:
        """Hand it over to whoever delivers it from there."""
        address, server = _parse(rest)
        mail = mail_of(message, address)
        if server is None and SENDMAIL.exists():
            run_program([str(SENDMAIL), "-i", "--", address], mail.as_bytes())
            return
        host, port = server or ("localhost", SMTP_PORT)
        try:
            smtp = smtplib.SMTP(host, port, timeout=SECONDS)
            try:
                smtp.ehlo_or_helo_if_needed()
                if smtp.has_extn("starttls"):
                    smtp.starttls()
                smtp.send_message(mail)
            finally:
                with suppress(smtplib.SMTPException, OSError):  # what was taken is taken
                    smtp.quit()
        except smtplib.SMTPException as error:
            raise NotDelivered(f"{host} port {port} did not take it: {error}", "") from error


def mail_of(message: Message, address: str) -> EmailMessage:
    """The mail; what strangers chose cannot begin a header. Pure but for the host's name."""
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"] = f"Holdfast <root@{socket.getfqdn()}>"
    mail["To"] = address
    mail["Date"] = formatdate(message.at, localtime=True)
    mail["Message-ID"] = f"<{message.id}@holdfast>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.text)
    return mail


def _parse(rest: str) -> tuple[str, tuple[str, int] | None]:
    address, _, query = rest.partition("?")
    try:
        parsed = Address(addr_spec=address)
        asked = parse_qs(query, strict_parsing=True) if query else {}
        server = _server(asked.pop("server", [""])[0])
    except Exception as error:  # the parser raises its own kinds, and IndexError
        raise _no_address(rest) from error
    if not parsed.username or not parsed.domain or asked or address.startswith("-"):
        raise _no_address(rest)
    return address, server


def _server(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(SMTP_PORT))
    if not host or not 0 < int(port) < 1 << 16:
        raise ValueError(text)
    return host, int(port)


def _no_address(rest: str) -> InvalidOption:
    return InvalidOption(
        f"{rest!r} is no mail address",
        "Write mail:ops@example.org, or mail:ops@example.org?server=mail.example.org:25.",
    )
