"""Books payments with a public client of Kommo: `kommo_client.py PAYMENTS.json`; the account is in the environment.

Reads all deals and contacts, closes the deals, and writes a note on each, as the client's documentation shows it: both
lists at once, writes in its batches.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from aioamocrm import AmoCRMClient, Lead, LongLivedToken, Note

WON = 142


async def book(payments: list[dict]) -> None:
    """Read what a run of ours reads, then close the deals and write the notes in the client's own batches."""
    token = LongLivedToken(os.environ["KOMMO_TOKEN"])
    async with AmoCRMClient(base_url=os.environ["KOMMO_API_URL"], auth=token) as kommo:

        async def deals() -> dict:
            return {lead.id: lead async for lead in kommo.leads.iterate(with_="contacts")}

        async def contacts() -> dict:
            return {contact.id: contact async for contact in kommo.contacts.iterate()}

        found, _ = await asyncio.gather(deals(), contacts())
        ours = [payment for payment in payments if payment["lead_id"] in found]
        await kommo.leads.update([Lead(id=p["lead_id"], status_id=WON, price=p["price"]) for p in ours])
        await kommo.leads.notes.create([Note.common(p["lead_id"], p["text"]) for p in ours])


asyncio.run(book(json.loads(Path(sys.argv[1]).read_text())))
