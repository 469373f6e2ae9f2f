"""A release from its tag to its traffic: the checks around it, its host, and the way back.

For the smoke tests of an application:

    def trips(client: Client) -> Iterator[str]:
        client.get("/trips/")
        yield "the list of trips"
"""

from typing import TYPE_CHECKING

from deploy_ops.exports import import_when_asked

if TYPE_CHECKING:
    from deploy_ops.release.account import Account, temporary_account
    from deploy_ops.release.account_flag import flag_on_for
    from deploy_ops.release.client import Client
else:
    __getattr__ = import_when_asked(
        __name__,
        {
            "account": ["Account", "temporary_account"],
            "account_flag": ["flag_on_for"],
            "client": ["Client"],
        },
    )

__all__ = ["Account", "Client", "flag_on_for", "temporary_account"]
