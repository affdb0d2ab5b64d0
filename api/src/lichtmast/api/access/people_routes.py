"""All routes about people, put together: JSON and pages."""

from lichtmast.api.access.account_pages import AccountPages
from lichtmast.api.access.account_routes import AccountRoutes
from lichtmast.api.access.openid import OpenIdProvider
from lichtmast.api.access.openid_pages import OpenIdPages
from lichtmast.api.access.pages import PeoplePages
from lichtmast.api.access.parts import Parts
from lichtmast.api.access.routes import Routes
from lichtmast.api.access.session_routes import SessionRoutes
from lichtmast.api.access.sign_in_pages import SignInPages
from lichtmast.api.access.user_routes import UserRoutes
from lichtmast.api.static_files import find_assets


def people_routes(parts: Parts, openid: OpenIdProvider | None) -> Routes:
    """What the table of needs lists besides open data and device management."""
    pages = PeoplePages(parts.settings, find_assets())
    sign_in = SignInPages(parts, pages, openid=openid is not None)
    return [
        *SessionRoutes(parts).routes(),
        *AccountRoutes(parts).routes(),
        *UserRoutes(parts).routes(),
        *sign_in.routes(),
        *AccountPages(parts, pages).routes(),
        *OpenIdPages(parts, pages, sign_in, openid).routes(),
    ]
