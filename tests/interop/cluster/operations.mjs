// The operations of the matrix. Each runs once per sender and says, for each receiver, what was seen and what should have
// been: `run(t)` gives an object of `{ seen, should }` by the receiver's name. `t` is a Trial (matrix.mjs). An operation that
// ends at a timeout in some cluster `waits`.
import { unique } from "./cluster.mjs";
import { HEADERS, QUERY, AUTH } from "./lib/member.mjs";

/** JSON that is easily damaged on the way. */
const ARGS = [
  "text é ☃ 😀 \u0001 \"quoted\" \\",
  1,
  -2.5,
  2 ** 45,
  -129,
  true,
  null,
  { nested: [1, { deep: "x" }], empty: {}, "": "no name" },
  [],
  "y".repeat(300),
];
const BINARY = [Buffer.from([0, 255, 1]), { inner: [Buffer.alloc(300, 7)], text: "t" }, Buffer.alloc(0)];
const DATE = 1_700_000_000_123;
/** Rooms may be called anything, and patterns of Redis are globs. */
const ROOM = "room#a*[b]?é";
/** How long a broadcast waits for acknowledgements some of which never come, milliseconds. */
const HALF = 5_000;
/** No connection of this run is older, and no clock that was set meanwhile is wrong by more than a minute. */
const MINUTE = 60_000;
const START = Date.now() - MINUTE;
const DATA = { user: "é", n: 1, deep: [{ a: null }] };

const all = { new: [ARGS], old: [ARGS] };
const nobody = { new: [], old: [] };

/** What permanent members got of some events, in one list each. */
function got(t, events, nsp = "/") {
  return (node) =>
    Object.fromEntries(
      Object.entries(node.members[nsp]).map(([label, member]) => [label, [].concat(events).flatMap((event) => member.got(event))]),
    );
}

/** An operation whose result is what arrives at the permanent members. */
function message(name, title, run) {
  return {
    name,
    title,
    async run(t) {
      const { events, should, nsp } = await run(t);
      await t.fence(nsp);
      const seen = got(t, events, nsp);
      return t.each((node) => ({ seen: seen(node), should: typeof should === "function" ? should(node) : should }));
    },
  };
}

const rooms = (member, state) => state.find(({ id }) => id === member.id)?.rooms ?? [];

/** Which of `names` a permanent member is in, at each node; the sender's own state may come later than the fence. */
async function inRooms(t, names, should) {
  return t.eachAsync(async (node) => {
    const look = async () => {
      const state = await node.call("local");
      const seen = {};
      for (const [label, member] of Object.entries(node.members["/"])) {
        seen[label] = names.filter((room) => rooms(member, state).includes(room));
      }
      return seen;
    };
    const wanted = JSON.stringify(should);
    const seen = await t.settled(node, look, (state) => JSON.stringify(state) === wanted);
    return { seen, should };
  });
}

export const OPERATIONS = [
  message("all", "to everybody", async (t) => {
    const event = unique("all");
    await t.send("emit", { event, args: ARGS });
    return { events: event, should: all };
  }),

  message("room", "to a room", async (t) => {
    const [event, room] = [unique("room"), unique(ROOM)];
    await t.place((node) => [[node, node.members["/"].new, [room]]]);
    await t.send("emit", { rooms: [room], event, args: ARGS });
    return { events: event, should: { new: [ARGS], old: [] } };
  }),

  message("rooms", "to several rooms, once", async (t) => {
    const event = unique("rooms");
    const [one, two] = [unique(ROOM), unique(ROOM)];
    await t.place((node) => [
      [node, node.members["/"].new, [one, two]],
      [node, node.members["/"].old, [two]],
    ]);
    await t.send("emit", { rooms: [one, two, unique("empty")], event, args: ["once"] });
    return { events: event, should: { new: [["once"]], old: [["once"]] } };
  }),

  message("except", "to a room and to all, except a room", async (t) => {
    const events = [unique("except"), unique("except")];
    const [room, spared] = [unique(ROOM), unique("spared")];
    await t.place((node) => [
      [node, node.members["/"].new, [room]],
      [node, node.members["/"].old, [room, spared]],
    ]);
    await t.send("emit", { rooms: [room], except: [spared, unique("empty")], event: events[0], args: [1] });
    await t.send("emit", { except: [spared], event: events[1], args: [2] });
    return { events, should: { new: [[1], [2]], old: [] } };
  }),

  message("id", "to one socket by its id", async (t) => {
    const event = unique("id");
    for (const [, , member] of t.cluster.members()) await t.send("emit", { rooms: [member.id], event, args: [member.id] });
    return { events: event, should: ({ members: { "/": m } }) => ({ new: [[m.new.id]], old: [[m.old.id]] }) };
  }),

  {
    name: "custom",
    title: "to another namespace and a room of it",
    async run(t) {
      const events = [unique("custom"), unique("custom")];
      const room = unique(ROOM);
      const nsp = "/custom";
      await t.place((node) => [[node, node.members[nsp].old, [room]]], nsp);
      await t.send("emit", { nsp, event: events[0], args: ARGS });
      await t.send("emit", { nsp, rooms: [room], event: events[1], args: [2] });
      await t.fence(nsp);
      await t.fence();
      const [seen, elsewhere] = [got(t, events, nsp), got(t, events)];
      return t.each((node) => ({
        seen: { ...seen(node), elsewhere: elsewhere(node) },
        should: { new: [ARGS], old: [ARGS, [2]], elsewhere: nobody },
      }));
    },
  },

  message("id3", "to a protocol 3 client of another namespace by its id", async (t) => {
    const event = unique("id3");
    const nsp = "/custom";
    for (const node of t.cluster.nodes) {
      const { id } = node.members[nsp].old;
      await t.send("emit", { nsp, rooms: [id], event, args: [id] });
    }
    return { nsp, events: event, should: ({ members }) => ({ new: [], old: [[members[nsp].old.id]] }) };
  }),

  {
    name: "binary",
    title: "binary, at any depth",
    async run(t) {
      // Only to fresh clients: what some nodes make of it is the end of them.
      const [event, room] = [unique("binary"), unique(ROOM)];
      const fresh = await t.fresh();
      await t.place((node) => fresh.at(node).map(({ main }) => [node, main, [room]]));
      await t.send("emit", { rooms: [room], event, args: BINARY });
      await t.fence("/", fresh.members());
      const seen = ({ main }) => (main.ended === undefined ? main.got(event) : { got: main.got(event), ended: main.ended });
      return t.each((node) => {
        const [first, second] = fresh.at(node);
        return { seen: { new: seen(first), old: seen(second) }, should: { new: [BINARY], old: [BINARY] } };
      });
    },
  },

  message("date", "a date", async (t) => {
    const event = unique("date");
    await t.send("emit", { event, args: [{ at: new Date(DATE) }] });
    const text = [[{ at: new Date(DATE).toISOString() }]];
    return { events: event, should: { new: text, old: text } };
  }),

  {
    name: "flags",
    title: "volatile and not compressed",
    async run(t) {
      // A volatile message is dropped while something else is being written: only never arriving is wrong.
      const seen = new Map(t.cluster.members().map(([, , member]) => [member, 0]));
      for (let i = 0; i < 40 && [...seen.values()].includes(0); i++) {
        const event = unique("volatile");
        await t.send("emit", { flags: { volatile: true, compress: false }, event, args: [] });
        await t.fence();
        for (const [member, most] of seen) seen.set(member, Math.max(most, member.got(event).length));
      }
      return t.each(({ members: { "/": m } }) => ({
        seen: { new: seen.get(m.new), old: seen.get(m.old) },
        should: { new: 1, old: 1 },
      }));
    },
  },

  message("local", "flag local: to the clients of this node only", async (t) => {
    const event = unique("local");
    await t.send("emit", { flags: { local: true }, event, args: ARGS });
    return { events: event, should: (node) => (node === t.sender ? all : nobody) };
  }),

  message("from", "from a socket to all others and to a room", async (t) => {
    const events = [unique("from"), unique("from")];
    const room = unique(ROOM);
    const sid = t.sender.members["/"].new.id;
    await t.place((node) => [[node, node.members["/"].new, [room]]]);
    await t.send("from", { sid, event: events[0], args: [1] });
    await t.send("from", { sid, rooms: [room], event: events[1], args: [2] });
    return { events, should: (node) => ({ new: node === t.sender ? [] : [[1], [2]], old: [[1]] }) };
  }),

  {
    name: "join",
    title: "socketsJoin",
    async run(t) {
      const [room, spared, one, two] = [unique(ROOM), unique("spared"), unique(ROOM), unique("joined")];
      await t.place((node) => [
        [node, node.members["/"].new, [room]],
        [node, node.members["/"].old, [room, spared]],
      ]);
      await t.send("join", { rooms: [room], except: [spared], into: [one, two] });
      await t.fence();
      return inRooms(t, [one, two], { new: [one, two], old: [] });
    },
  },

  {
    name: "leave",
    title: "socketsLeave",
    async run(t) {
      const [room, left] = [unique(ROOM), unique("left")];
      await t.place((node) => [
        [node, node.members["/"].new, [room, left]],
        [node, node.members["/"].old, [left]],
      ]);
      await t.send("leave", { rooms: [room], into: [left] });
      await t.fence();
      return inRooms(t, [left], { new: [], old: [left] });
    },
  },

  {
    name: "disconnect",
    title: "disconnectSockets, of a namespace and of the connection",
    async run(t) {
      const [soft, hard] = [await t.fresh(), await t.fresh()];
      const [softly, hardly] = [unique("softly"), unique("hardly")];
      const into = (fresh, room) => (node) => fresh.at(node).map(({ main }) => [node, main, [room]]);
      await t.place((node) => [...into(soft, softly)(node), ...into(hard, hardly)(node)]);
      await t.send("disconnect", { rooms: [softly], close: false });
      await t.send("disconnect", { rooms: [hardly], close: true });
      // What the sender does to its own clients may come later than its fence.
      const own = t.cluster.nodes.filter((node) => node === t.sender).flatMap((node) => [...soft.at(node), ...hard.at(node)]);
      await Promise.all(own.map(({ main }) => main.over()));
      await t.fence("/", [...soft.members(), ...hard.members()]);
      await t.fence("/custom", [...soft.members("custom"), ...hard.members("custom")]);
      const state = ([first, second]) => ({
        new: [first.main.ended ?? "stays", first.custom.ended ?? "stays"],
        old: [second.main.ended ?? "stays", second.custom.ended ?? "stays"],
      });
      const told = "io server disconnect";
      return t.each((node) => ({
        seen: { soft: state(soft.at(node)), hard: state(hard.at(node)) },
        should: {
          soft: { new: [told, "stays"], old: [told, "stays"] },
          hard: { new: [told, told], old: [told, told] },
        },
      }));
    },
  },

  {
    name: "fetch",
    title: "fetchSockets, with data, rooms and handshake",
    waits: true,
    async run(t) {
      const room = unique(ROOM);
      await t.place((node) => [
        [node, node.members["/"].new, [room], DATA],
        [node, node.members["/"].old, [room]],
      ]);
      const { complete, sockets } = await t.send("fetch", { rooms: [room] });
      const seen = (member) =>
        sockets.filter(({ id }) => id === member.id).map(({ rooms, data, handshake }) => ({
          inRoom: rooms?.includes(room) && rooms.includes(member.id),
          data,
          handshake: handshake && outline(handshake),
        }));
      const { length } = t.cluster.members();
      return t.each(({ members: { "/": m } }) => ({
        seen: { complete, surplus: Math.max(0, sockets.length - length), new: seen(m.new), old: seen(m.old) },
        should: {
          complete: true,
          surplus: 0,
          new: [{ inRoom: true, data: DATA, handshake: { ...HANDSHAKE, auth: AUTH } }],
          // Only the new protocol has an auth object. What the permanent members have as data is set in this operation
          // alone.
          old: [{ inRoom: true, data: {}, handshake: { ...HANDSHAKE, auth: {} } }],
        },
      }));
    },
  },

  {
    name: "remote",
    title: "emit, join, leave, disconnect of one fetched socket",
    waits: true,
    async run(t) {
      const fresh = await t.fresh();
      const [joined, left, event] = [unique(ROOM), unique("left"), unique("remote")];
      await t.place((node) => fresh.at(node).map(({ main }) => [node, main, [left]]));
      const refused = new Set();
      const acts = [
        { act: "emit", event, args: BINARY },
        { act: "join", into: [joined] },
        { act: "leave", into: [left] },
      ];
      await Promise.all(
        fresh.connections().map(({ main }) => t.send("remote", { sid: main.id, acts }).catch(() => refused.add(main))),
      );
      await t.fence("/", fresh.members());
      const seen = await t.eachAsync(async (node) => {
        const look = async () => {
          const state = await node.call("local");
          const own = ({ main }) => ({
            refused: refused.has(main),
            got: main.got(event),
            joined: rooms(main, state).includes(joined),
            left: !rooms(main, state).includes(left),
          });
          const [first, second] = fresh.at(node);
          return { new: own(first), old: own(second) };
        };
        return t.settled(node, look, (state) => [state.new, state.old].every((own) => own.refused || (own.joined && own.left)));
      });
      const disconnected = fresh.connections().filter(({ main }) => !refused.has(main));
      await Promise.all(
        disconnected.map(async ({ main }) => {
          await t.send("remote", { sid: main.id, acts: [{ act: "disconnect", close: false }] });
          if (t.sender.members && fresh.at(t.sender).some((own) => own.main === main)) await main.over();
        }),
      );
      await t.fence("/", fresh.members());
      const ends = (node) => fresh.at(node).map(({ main }) => main.ended ?? "stays");
      const should = { refused: false, got: [BINARY], joined: true, left: true };
      return t.each((node) => ({
        seen: { ...seen[node.name], ends: ends(node) },
        should: { new: should, old: should, ends: ["io server disconnect", "io server disconnect"] },
      }));
    },
  },

  {
    name: "allRooms",
    title: "allRooms",
    waits: true,
    async run(t) {
      const named = new Map(t.cluster.nodes.map((node) => [node, unique(ROOM)]));
      await t.place((node) => [[node, node.members["/"].new, [named.get(node)]]]);
      const { complete, rooms: found } = await t.send("allRooms");
      return t.each((node) => ({
        seen: { complete, room: found.includes(named.get(node)), once: new Set(found).size === found.length },
        should: { complete: true, room: true, once: true },
      }));
    },
  },

  {
    name: "count",
    title: "serverCount",
    async run(t) {
      const seen = await t.send("count");
      return t.each(() => ({ seen, should: t.cluster.nodes.length }));
    },
  },

  {
    name: "ask",
    title: "broadcast with acknowledgements",
    waits: true,
    async run(t) {
      const room = unique(ROOM);
      await t.place((node) => Object.values(node.members["/"]).map((member) => [node, member, [room]]));
      const question = { rooms: [room], event: "question", args: BINARY, timeout: t.timeout };
      const { complete, replies } = await t.send("ask", question);
      const from = (member) => replies.filter((reply) => reply?.from === member.id);
      const surplus = Math.max(0, replies.length - t.cluster.members().length);
      return t.eachAsync(async (node, m = node.members["/"]) => ({
        seen: { complete, surplus, new: from(m.new), old: from(m.old), reported: await t.reported(node) },
        should: { complete: true, surplus: 0, new: [m.new.answer], old: [m.old.answer], reported: false },
      }));
    },
  },

  {
    name: "askHalf",
    title: "broadcast with acknowledgements of which some never come",
    waits: true,
    async run(t) {
      // Fresh clients that do not answer beside the permanent ones that do.
      const room = unique(ROOM);
      const fresh = await t.fresh();
      for (const { main } of fresh.connections()) main.socket.off("question");
      await t.place((node) => [
        [node, node.members["/"].new, [room]],
        ...fresh.at(node).map(({ main }) => [node, main, [room]]),
      ]);
      const { complete, replies } = await t.send("ask", { rooms: [room], event: "question", args: ["?"], timeout: HALF });
      return t.each(({ members: { "/": m } }) => ({
        seen: { complete, new: replies.filter((reply) => reply?.from === m.new.id), nobody: replies.includes(null) },
        should: { complete: false, new: [m.new.answer], nobody: false },
      }));
    },
  },

  {
    name: "servers",
    title: "serverSideEmit",
    async run(t) {
      const token = unique("servers");
      const args = [token, ...ARGS];
      await t.send("serverEmit", { event: "note", args });
      await t.fence();
      return t.eachAsync(async (node) => ({
        seen: await t.heard(node, token),
        should: node === t.sender ? [] : [["note", ...args]],
      }));
    },
  },

  {
    name: "serversAsk",
    title: "serverSideEmit with acknowledgement",
    waits: true,
    async run(t) {
      const token = unique("question");
      const { complete, replies } = await t.send("serverAsk", { event: "question", args: [token] });
      await t.fence();
      return t.eachAsync(async (node) => ({
        seen: {
          complete,
          heard: await t.heard(node, token),
          replies: replies.filter((reply) => reply === `${node.name}:${token}`).length,
        },
        should: {
          complete: true,
          heard: node === t.sender ? [] : [["question", token]],
          replies: node === t.sender ? 0 : 1,
        },
      }));
    },
  },

  {
    name: "serversMute",
    title: "serverSideEmit with an acknowledgement that nobody gives",
    waits: true,
    async run(t) {
      const token = unique("mute");
      const { complete, replies } = await t.send("serverAsk", { event: "mute", args: [token] });
      await t.fence();
      return t.eachAsync(async (node) => ({
        seen: { complete, replies, heard: await t.heard(node, token) },
        should: { complete: false, replies: [], heard: node === t.sender ? [] : [["mute", token]] },
      }));
    },
  },

  {
    name: "legacy",
    title: "remoteJoin, remoteLeave, remoteDisconnect of socket.io 2",
    waits: true,
    only: ["n5"],
    async run(t) {
      const [room, other] = [unique("room"), unique("room")];
      const [joining, leaving, going] = [await t.fresh(), await t.fresh(), await t.fresh()];
      // A request to join is taken by others for one to leave: the first client is asked to join a room it is not in, the
      // second one a room it is in.
      await t.place((node) => [
        [node, joining.at(node)[1].main, [room]],
        ...leaving.at(node).map(({ main }) => [node, main, [other]]),
      ]);
      await Promise.all([
        ...joining.connections().map(({ main }) => t.send("legacyJoin", { sid: main.id, room })),
        ...leaving.connections().map(({ main }) => t.send("legacyLeave", { sid: main.id, room: other })),
        ...going.connections().map(({ main }) => t.send("legacyDisconnect", { sid: main.id })),
      ]);
      await t.fence("/", [joining, leaving, going].flatMap((fresh) => fresh.members()));
      return t.eachAsync(async (node) => {
        const state = await node.call("local");
        const within = (fresh, name) =>
          fresh.at(node).map(({ main }) => main.ended ?? (rooms(main, state).includes(name) ? "inside" : "outside"));
        const told = "io server disconnect";
        return {
          seen: {
            joined: within(joining, room),
            left: within(leaving, other),
            gone: going.at(node).map(({ main }) => main.ended ?? "stays"),
          },
          should: { joined: ["inside", "inside"], left: ["outside", "outside"], gone: [told, told] },
        };
      });
    },
  },
];

const HANDSHAKE = {
  header: HEADERS["x-interop"],
  query: QUERY.color,
  address: "127.0.0.1",
  xdomain: false,
  secure: false,
  issued: true,
  time: true,
  url: true,
};

/** What can be known beforehand of a handshake, and the form of the rest. */
function outline({ headers, query, address, xdomain, secure, issued, time, url, auth }) {
  return {
    header: headers?.["x-interop"],
    query: query?.color,
    address,
    xdomain,
    secure,
    issued: Number.isInteger(issued) && issued > START && issued < Date.now() + MINUTE,
    time: /^\w{3} \w{3} \d\d \d{4} \d\d:\d\d:\d\d GMT[+-]\d{4} \(.+\)$/.test(time) && Math.abs(Date.parse(time) - issued) < MINUTE,
    url: typeof url === "string" && url.startsWith("/socket.io/?"),
    auth,
  };
}
