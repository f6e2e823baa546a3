"""matrix-nio as a process that is told what to do: a JSON object per line, an answer per line. It syncs all the while,
joins what it is invited to, and keeps what it hears as nio has read it. Started by synapse_server.py."""
import asyncio
import base64
import io
import json
import sys

import nio


class Person:
    def __init__(self, server, user):
        # It waits as told when the server says that it is too fast.
        self.client = nio.AsyncClient(server, user, config=nio.AsyncClientConfig(encryption_enabled=False, max_limit_exceeded=0))
        self.rooms, self.writing, self.members = {}, {}, {}
        self.client.add_event_callback(self.hears, nio.RoomMessage)
        self.client.add_event_callback(self.comes_in, nio.InviteMemberEvent)
        self.client.add_ephemeral_callback(self.sees_typing, nio.TypingNoticeEvent)

    async def hears(self, room, event):
        content = event.source["content"]
        relation = content.get("m.relates_to") or {}
        heard = self.rooms.setdefault(room.room_id, {})
        said = {"id": event.event_id, "sender": event.sender, "type": type(event).__name__, "text": getattr(event, "body", ""),
                "html": getattr(event, "formatted_body", None), "address": getattr(event, "url", None), "edited": 0, "content": content}
        if relation.get("rel_type") != "m.replace":
            heard.setdefault(event.event_id, said)
        elif relation["event_id"] in heard and heard[relation["event_id"]]["sender"] == event.sender:
            new, old = content["m.new_content"], heard[relation["event_id"]]
            old.update(text=new["body"], html=new.get("formatted_body"), edited=old["edited"] + 1)

    async def comes_in(self, room, event):
        if event.state_key == self.client.user_id and event.membership == "invite":
            await self.client.join(room.room_id)

    async def sees_typing(self, room, event):
        self.writing.setdefault(room.room_id, []).append(event.users)

    # ---- what can be asked

    async def ready(self):
        return self.client.user_id

    async def create(self, invite=(), direct=False, **keys):
        return (await self.client.room_create(invite=invite, is_direct=direct, **keys)).room_id

    async def say(self, room, content, type="m.room.message"):
        return (await self.client.room_send(room, type, content)).event_id

    async def say_many(self, room, texts):
        for text in texts:
            await self.say(room, {"msgtype": "m.text", "body": text})

    async def send_file(self, room, data, name, mime, kind):
        data = base64.b64decode(data)
        kept, _ = await self.client.upload(io.BytesIO(data), content_type=mime, filename=name, filesize=len(data))
        return await self.say(room, {"msgtype": kind, "body": name, "url": kept.content_uri, "info": {"mimetype": mime, "size": len(data)}})

    async def load(self, address):
        got = await self.client.download(mxc=address)
        return {"data": base64.b64encode(got.body).decode(), "mime": got.content_type, "name": got.filename}

    async def state(self, room, type, content, key=""):
        return (await self.client.room_put_state(room, type, content, key)).event_id

    async def kick(self, room, user):
        await self.client.room_kick(room, user)

    async def invite(self, room, user):
        answer = await self.client.room_invite(room, user)
        assert isinstance(answer, nio.RoomInviteResponse), answer

    async def members_of(self, room):
        return {member.user_id: member.display_name for member in (await self.client.joined_members(room)).members}

    async def read_by(self, room):
        """The event that each has read last."""
        return {user: receipt.event_id for user, receipt in self.client.rooms[room].read_receipts.items()}

    async def heard(self, room):
        return list(self.rooms.get(room, {}).values())

    async def typed(self, room):
        return self.writing.get(room, [])


async def main():
    server, user, password = sys.argv[1:]
    person = Person(server, user)
    answer = await person.client.login(password, device_name="nio")
    assert isinstance(answer, nio.LoginResponse), answer
    await person.client.sync(timeout=0, full_state=True)
    # What stands before a part that it is told of, it does not ask for.
    syncing = asyncio.create_task(person.client.sync_forever(timeout=10_000, sync_filter={"room": {"timeline": {"limit": 500}}}))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        keys = json.loads(line)
        try:
            answer = {"is": await getattr(person, keys.pop("ask"))(**keys)}
        except Exception as error:  # noqa: BLE001: told to who asked
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    syncing.cancel()


asyncio.run(main())
