"""Webhooks of both accounts: what there is to do is found and asked first, and done at the end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from dealsync.apis.kommo.client import Kommo
from dealsync.apis.kommo.normalise import Hook
from dealsync.apis.lemonsqueezy.client import LemonSqueezy
from dealsync.apis.lemonsqueezy.values import Webhook
from dealsync.errors import Rejected, Unauthorized
from dealsync.ledger.sent_secrets import SentSecrets
from dealsync.registering import (
    KOMMO_EVENTS,
    KOMMO_PATH,
    LEMON_SQUEEZY_EVENTS,
    LEMON_SQUEEZY_PATH,
    Found,
    ensure_can_register,
    host_of,
    kommo_destination,
    kommo_hooks,
    lemon_squeezy_hooks,
    plain_address,
)
from dealsync.settings import Environment
from dealsync.setup.questions import Option, Questions

Act = Callable[[], Awaitable[str]]
"""Does something, and says what was done, in a line."""
MOVE, REMOVE, LEAVE = "move", "remove", "leave"
LATER = "changes in Kommo are seen by the hourly run"


@dataclass(slots=True)
class WebhookPlan:
    """What is to be said and done, in this order."""

    acts: list[Act] = field(default_factory=list)
    writes: int = 0  # how many of them change anything

    def say(self, line: str) -> None:
        """Have a line said."""

        async def said() -> str:
            return line

        self.acts.append(said)

    def do(self, act: Act) -> None:
        """Have something done."""
        self.acts.append(act)
        self.writes += 1

    async def carry_out(self) -> list[str]:
        """Do it; return a line each."""
        return [await act() for act in self.acts]


@dataclass(frozen=True, slots=True)
class Registrar:
    """Sees to it that each store and the Kommo account send their events to the receiver, once."""

    lemon_squeezy: LemonSqueezy
    kommo: Kommo
    environment: Environment
    sent: SentSecrets
    ask: Questions
    renew: bool  # set events and secrets again, whatever is known of them
    previous: str = ""  # the receiver's address until now

    async def plan(self, store_ids: Iterable[str], receiver: str) -> WebhookPlan:
        """Find what there is, ask what to do about old ones. Raises ConfigError, and as the clients."""
        await ensure_can_register(self.lemon_squeezy, self.environment)
        plan = WebhookPlan()
        for store_id in store_ids:
            await self._plan_store(plan, store_id, receiver)
        await self._plan_kommo(plan, receiver)
        return plan

    # --- Lemon Squeezy ----------------------------------------------------------------------------------------

    async def _plan_store(self, plan: WebhookPlan, store_id: str, receiver: str) -> None:
        url, found = receiver + LEMON_SQUEEZY_PATH, await lemon_squeezy_hooks(self.lemon_squeezy, store_id, receiver)
        answers = {hook.id: await self._about_former(hook, found) for hook in found.former}
        moved = next((hook for hook in found.former if answers[hook.id] == MOVE), None)
        ours = found.ours[0] if found.ours else moved
        name = f"Lemon Squeezy store {store_id}: webhook"
        if ours is None:
            plan.do(partial(self._make, store_id, url))
        elif self._is_right(ours, url):
            plan.say(f"{name} {ours.id} was there, and is right")
        else:
            what = "sends to the new address now" if moved is ours else "was there; events and secret are set"
            plan.do(partial(self._mend, ours, url, f"{name} {ours.id} {what}"))
        for hook in found.ours[1:]:
            await self._about_twin(plan, hook)
        for hook in found.former:
            if hook is not moved and answers[hook.id] in (REMOVE, MOVE):
                self._remove(plan, hook)
            elif hook is not moved:
                plan.say(f"  webhook {hook.id} sends to {host_of(hook.url)}, a receiver that was: delete it there")
        for hook in found.others:
            plan.say(f"  webhook {hook.id} sends to {host_of(hook.url)}")

    async def _about_former(self, hook: Webhook, found: Found[Webhook]) -> str:
        options = [Option("Remove it", REMOVE), Option("Leave it", LEAVE)]
        if not found.ours:
            options.insert(0, Option("Let it send to the new address", MOVE))
        proposed = options[0].value if self.ask.guided and self._was_ours(hook.url) else LEAVE
        question = f"Lemon Squeezy's webhook {hook.id} still sends to {host_of(hook.url)}. What about it?"
        return str(await self.ask.choose(question, options, proposed))

    def _was_ours(self, url: str) -> bool:
        """Whether it certainly was our receiver; another one may be at work for somebody else."""
        return bool(self.previous) and plain_address(url).startswith(f"{self.previous}/")

    async def _about_twin(self, plan: WebhookPlan, hook: Webhook) -> None:
        question = f"Lemon Squeezy's webhook {hook.id} sends to the same address once more. Remove it?"
        if await self.ask.confirm(question, proposed=self.ask.guided):
            self._remove(plan, hook)
        else:
            plan.say(f"  webhook {hook.id} sends to the same address, too: delete it there")

    def _is_right(self, hook: Webhook, url: str) -> bool:
        return (
            not self.renew
            and hook.url == url
            and hook.events == frozenset(LEMON_SQUEEZY_EVENTS)
            and self.sent.has(hook.id, self._secret)
        )

    @property
    def _secret(self) -> str:
        return self.environment.webhook_secrets[0]

    async def _make(self, store_id: str, url: str) -> str:
        events = sorted(LEMON_SQUEEZY_EVENTS)
        made = await self.lemon_squeezy.create_webhook(store_id, url=url, events=events, secret=self._secret)
        self.sent.keep(made.id, self._secret)
        return f"Lemon Squeezy store {store_id}: webhook {made.id} made"

    async def _mend(self, hook: Webhook, url: str, line: str) -> str:
        events = sorted(LEMON_SQUEEZY_EVENTS)
        await self.lemon_squeezy.update_webhook(hook.id, url=url, events=events, secret=self._secret)
        self.sent.keep(hook.id, self._secret)
        return line

    def _remove(self, plan: WebhookPlan, hook: Webhook) -> None:
        async def remove() -> str:
            await self.lemon_squeezy.delete_webhook(hook.id)
            return f"  webhook {hook.id} to {host_of(hook.url)} removed"

        plan.do(remove)

    # --- Kommo ------------------------------------------------------------------------------------------------

    async def _plan_kommo(self, plan: WebhookPlan, receiver: str) -> None:
        """The plan, or the rights of the token, may forbid it; then the hourly run sees changes later."""
        destination = kommo_destination(self.environment, receiver)
        if not destination:
            plan.say(f"Kommo: no webhook, for KOMMO_WEBHOOK_TOKEN is not set; {LATER}")
            return
        try:
            found = await kommo_hooks(self.kommo, destination)
        except (Unauthorized, Rejected) as error:
            plan.say(_refused(error))
            return
        ours = found.ours[0] if found.ours else None
        if ours and set(KOMMO_EVENTS) <= set(ours.events) and not ours.is_disabled and not self.renew:
            plan.say("Kommo: webhook was there, and is right")
        else:
            plan.do(partial(self._register, ours, destination))
        for hook in (*found.ours[1:], *found.former):
            await self._about_stale(plan, hook, receiver)
        for hook in found.others:
            plan.say(f"  a webhook sends to {host_of(hook.destination)}")

    async def _register(self, ours: Hook | None, destination: str) -> str:
        """Register it under the very address it has, or it would be there twice."""
        try:
            made = await self.kommo.register_hook(ours.destination if ours else destination, KOMMO_EVENTS)
        except (Unauthorized, Rejected) as error:
            return _refused(error)
        line = f"Kommo: webhook {'was there; its events are set' if ours else 'made'}"
        if made.is_disabled:
            line += "\n  Kommo has switched it off, because it failed too often: switch it on in Kommo's settings"
        return line

    async def _about_stale(self, plan: WebhookPlan, hook: Hook, receiver: str) -> None:
        """One to a receiver that was, or to this one with another token, or in another spelling."""
        here = plain_address(hook.destination).startswith(f"{receiver}{KOMMO_PATH}")
        where = "this receiver with another token" if here else f"{host_of(hook.destination)}, a receiver that was"
        proposed = self.ask.guided and (here or self._was_ours(hook.destination))
        if await self.ask.confirm(f"A webhook of Kommo sends to {where}. Remove it?", proposed=proposed):
            plan.do(partial(self._remove_hook, hook, where))
        else:
            plan.say(f"  another webhook sends to {where}: delete it in Kommo's settings")

    async def _remove_hook(self, hook: Hook, where: str) -> str:
        try:
            await self.kommo.remove_hook(hook.destination)
        except (Unauthorized, Rejected) as error:
            return _refused(error)
        return f"  the webhook to {where} removed"


def _refused(error: Exception) -> str:
    return f"Kommo: no webhook, it refused ({error}); {LATER}"
