"""An application with logins; served by the tests from a directory of their own, where the identities are."""

from __future__ import annotations

import perspective_broker as pb


class Chatter(pb.Perspective):
    def perspective_whoami(self) -> str:
        return self.name

    def perspective_fail(self, text: str) -> None:
        raise pb.Error(text)


class Realm:
    """Gives a portal's users the same perspectives."""

    def request_avatar(self, avatar_id: object, mind: object) -> Chatter:
        return Chatter(str(avatar_id))


authorizer = pb.SQLAuthorizer("sqlite:///identities.db")
application = pb.Application("chat", authorizer)
application.add_service(pb.Service("chat", perspective_class=Chatter))


def portal() -> pb.Portal:
    return pb.Portal(Realm(), authorizer)


def with_certificates() -> pb.Portal:
    """A portal where a certificate stands for its owner's password."""
    return pb.Portal(
        Realm(), authorizer, certificate_user=lambda certificate: certificate.emails[0].partition("@")[0]
    )
