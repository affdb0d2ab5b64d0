"""What the pages about people have in common: templates, language, forms, where to go next. No rule is decided here."""

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lichtmast.api.access import limits
from lichtmast.api.access.texts import PEOPLE_TEXTS
from lichtmast.api.problem import Problem, malformed
from lichtmast.api.settings import ApiSettings
from lichtmast.api.static_files import StaticAssets
from lichtmast.api.texts import SCRIPT_KEYS, Language
from lichtmast.registry.people import SignInReason, SignInRefused

_OWN_PATH: Final = re.compile(r"/(?:[A-Za-z0-9_.~-][A-Za-z0-9_.~/-]*)?(?:\?[A-Za-z0-9_.~=&%+-]*)?", re.ASCII)
_OTHERS: Final[dict[Language, Language]] = {"nl": "en", "en": "nl"}
_SCRIPT_KEYS: Final = (*SCRIPT_KEYS, "passkey_failed")


class PeoplePages:
    """Renders; one for the whole program."""

    def __init__(self, settings: ApiSettings, assets: StaticAssets) -> None:
        self._settings = settings
        self._assets = assets
        self._templates = Environment(
            loader=PackageLoader("lichtmast.api"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(
        self, name: str, language: Language, *, status: int = HTTPStatus.OK, fault: str = "", **values: object
    ) -> Response:
        """A page; a fault is told at its head and in its title."""
        texts = PEOPLE_TEXTS[language]
        other = _OTHERS[language]
        text = self._templates.get_template(name).render(
            language=language,
            other=other,
            other_query=urlencode({"lang": other}),
            texts=texts,
            script_texts={key: texts[key] for key in _SCRIPT_KEYS},
            assets=self._assets,
            settings=self._settings,
            fault=fault,
            **values,
        )
        return HTMLResponse(text, status)


def language_of(request: Request, form: dict[str, str] | None = None) -> Language:
    """The page's language: of the form, else of the address, else Dutch."""
    given = (form or {}).get("lang") or request.query_params.get("lang")
    return "en" if given == "en" else "nl"


def own_path(text: str | None, otherwise: str) -> str:
    """Where to go next, if that is here: never another site, however it is written."""
    return text if text and _OWN_PATH.fullmatch(text) else otherwise


def to(path: str, language: Language, **query: str) -> RedirectResponse:
    """Go on to a page of ours, with GET."""
    joint = "&" if "?" in path else "?"
    return RedirectResponse(path + joint + urlencode({"lang": language, **query}), HTTPStatus.SEE_OTHER)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form. Raises a Problem."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send the form as application/x-www-form-urlencoded.")
    try:
        text = (await request.body()).decode("ascii")
        fields: list[tuple[str, str]] = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=limits.FORM_FIELDS_MAX
        )
    except ValueError as error:
        raise malformed("The form is not encoded as forms are.") from error
    return dict(fields)


def fault_text(refused: SignInRefused, language: Language) -> tuple[str, int]:
    """What a page says of a refused sign-in, and its status."""
    texts: Any = PEOPLE_TEXTS[language]
    text = str(texts[refused.reason.value]).format(seconds=refused.retry_s)
    waits = refused.reason is SignInReason.WAIT
    return text, HTTPStatus.TOO_MANY_REQUESTS if waits else HTTPStatus.UNAUTHORIZED
