"""The accounts as a block of the Prefect UI: credentials that are typed in there, and that go before the environment.

`dealsync serve` registers its type; beside workers it is done once: `prefect block register --file tasks/accounts.py`.
"""

from __future__ import annotations

from typing import Literal

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

EMPTY = SecretStr("")


class DealsyncAccounts(Block):
    """Both accounts that dealsync keeps in step. What is left empty is taken from the environment."""

    _block_type_name = "dealsync accounts"
    _block_type_slug = "dealsync-accounts"
    _description = "Lemon Squeezy store and Kommo account. What is left empty is taken from the environment."

    lemon_squeezy_api_key: SecretStr = Field(EMPTY, title="Lemon Squeezy API key")
    lemon_squeezy_store_id: str = Field("", title="Lemon Squeezy store, by its number")
    lemon_squeezy_variant_id: str = Field("", title="Variant that checkouts sell, by its number")
    lemon_squeezy_webhook_secret: SecretStr = Field(EMPTY, title="Signing secret of the Lemon Squeezy webhook")
    kommo_domain: str = Field("", title="Kommo account, such as acme.kommo.com")
    kommo_token: SecretStr = Field(EMPTY, title="Long-lived Kommo token")
    kommo_webhook_token: SecretStr = Field(EMPTY, title="Token in the address of the Kommo webhook")
    kommo_client_id: str = Field("", title="Kommo integration (OAuth): id")
    kommo_client_secret: SecretStr = Field(EMPTY, title="Kommo integration (OAuth): secret")
    kommo_redirect_uri: str = Field("", title="Kommo integration (OAuth): redirect address")
    kommo_auth_code: SecretStr = Field(EMPTY, title="Kommo integration (OAuth): fresh code")
    dealsync_mode: Literal["", "live", "test"] = Field("", title="Mode: live or test")

    def filled(self) -> dict[str, str]:
        """Return what is not left empty, in clear, by name of setting."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        clear = {n: v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in found.items()}
        return {name: value.strip() for name, value in clear.items() if value.strip()}
