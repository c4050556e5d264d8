// What the matrix shows that is not as it should be, and why: deviations of the old packages, by cell. A cell that is listed
// here must deviate in exactly this way; one that is not must be as it should.

const NO_SERVER = ["local", "from", "fetch", "remote", "allRooms", "count", "ask", "askHalf", "serversAsk", "serversMute"];
const NOT_YET = ["count", "ask", "askHalf", "servers", "serversAsk", "serversMute"];

/** Operations that a package does not have, by kind of sender; it must refuse the command in `PROBES`. */
export const LACKING = {
  n5: {
    reason: "socket.io 2 has no such operation",
    operations: ["except", "join", "leave", "disconnect", "remote", ...NOT_YET],
  },
  n6: { reason: "the adapter has no such operation yet", operations: NOT_YET },
  s8: { reason: "the sharded adapter has no such operation", operations: ["allRooms"] },
  e5: { reason: "an emitter is no server and hears no answers", operations: NO_SERVER },
  eo: { reason: "a command for the shell is no server, and JSON has no dates", operations: [...NO_SERVER, "date"] },
  rust: { reason: "there is no value for a date: it is text from the start", operations: ["date"] },
  e3: {
    reason: "the old emitter only emits",
    operations: [...NO_SERVER, "except", "join", "leave", "disconnect", "servers"],
  },
};

const NOBODY = { rooms: ["nobody is here"], except: [], event: "probe", args: [] };
export const PROBES = {
  except: ["emit", { ...NOBODY, except: ["spared"] }],
  date: ["emit", { ...NOBODY, args: [new Date(0)] }],
  local: ["emit", { ...NOBODY, flags: { local: true } }],
  from: ["from", NOBODY],
  join: ["join", { ...NOBODY, into: ["probe"] }],
  leave: ["leave", { ...NOBODY, into: ["probe"] }],
  disconnect: ["disconnect", { ...NOBODY, close: false }],
  fetch: ["fetch", NOBODY],
  remote: ["remote", { sid: "nobody", acts: [] }],
  allRooms: ["allRooms", {}],
  count: ["count", {}],
  ask: ["ask", { ...NOBODY, timeout: 100 }],
  askHalf: ["ask", { ...NOBODY, timeout: 100 }],
  servers: ["serverEmit", { event: "probe", args: [] }],
  serversAsk: ["serverAsk", { event: "probe", args: [] }],
  serversMute: ["serverAsk", { event: "probe", args: [] }],
};

/** What a decoder of the old MessagePack dialect makes of a date in the new one: the number and the bytes of an extension. */
function undecoded(date) {
  const at = Date.parse(date);
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE((BigInt((at % 1_000) * 1_000_000) << 34n) | BigInt(Math.floor(at / 1_000)));
  return [-1, bytes];
}

/** A value with its binary written as JSON by somebody who did not look for any. */
function plain(value) {
  return JSON.parse(JSON.stringify(value));
}

/** The same done to each event that each member should have got. */
function mapped(should, change) {
  return Object.fromEntries(Object.entries(should).map(([label, events]) => [label, events.map((args) => args.map(change))]));
}

const withDate = ({ at }) => ({ at: undecoded(at) });
const told = "io server disconnect";
const untouched = { refused: true, got: [], joined: false, left: false };
const UNTOUCHED = { new: untouched, old: untouched, ends: ["stays", "stays"] };

/** The kinds of servers and emitters that speak of dates in the new way. */
const NEW_DATES = ["n8", "e5"];
const OLD_DATES = ["n6", "n7"];
const MODERN = ["n6", "n7", "n8", "rust", "e5", "eo"];

/**
 * `operation`, and where given `cluster`, `from`, `to` (kinds), `self` (whether the sender is the receiver) say which cells a rule
 * is for; `seen` says what is there to be seen, given what should be.
 */
const RULES = [
  // ---- MessagePack and binary
  {
    operation: "date",
    from: NEW_DATES,
    to: OLD_DATES,
    reason: "notepack 2 cannot read the timestamps of notepack 3",
    seen: (should) => mapped(should, withDate),
  },
  {
    operation: "date",
    from: NEW_DATES,
    to: ["n5"],
    reason: "notepack 2 cannot read the timestamps of notepack 3, and socket.io 2 looks for no binary in packets of type 2",
    seen: (should) => plain(mapped(should, withDate)),
  },
  {
    operation: "binary",
    from: [...MODERN, "e3"],
    to: ["n5"],
    reason: "socket.io 2 looks for binary only in packets of type 5, which nobody else sends",
    seen: (should) => plain(should),
  },
  {
    operation: "binary",
    from: ["n5"],
    to: ["n6", "n7", "n8"],
    reason: "socket.io 2 sends packets of type 5, which socket.io 4 writes as `5undefined-`: clients cannot read it",
    seen: () => ({ new: { got: [], ended: "parse error" }, old: { got: [], ended: "threw: Illegal attachments" } }),
  },

  // ---- what the old adapters do not know
  {
    operation: "except",
    to: ["n5"],
    reason: "socket.io 2 takes exceptions to be ids of sockets",
    seen: ({ new: all }) => ({ new: all, old: all }),
  },
  ...["join", "leave", "disconnect"].map((operation) => ({
    operation,
    to: ["n5"],
    reason: "the requests of socket.io-redis 5 are another protocol",
    seen: (should) => {
      if (operation === "join") return { new: [], old: [] };
      if (operation === "leave") return { new: should.old, old: should.old };
      const stays = { new: ["stays", "stays"], old: ["stays", "stays"] };
      return { soft: stays, hard: stays };
    },
  })),
  {
    operation: "servers",
    to: ["n5", "n6"],
    reason: "socket.io-redis 5 and 6 know no events between servers",
    seen: () => [],
  },
  {
    operation: "serversMute",
    to: ["n5", "n6"],
    reason: "socket.io-redis 5 and 6 know no events between servers",
    seen: (should) => ({ ...should, heard: [] }),
  },
  {
    operation: "serversAsk",
    to: ["n5", "n6"],
    reason: "socket.io-redis 5 and 6 know no events between servers, and are waited for in vain",
    seen: (should) => ({ ...should, complete: false, heard: [], replies: 0 }),
  },
  {
    operation: "ask",
    from: ["rust"],
    to: ["n5", "n6"],
    reason: "as below; acknowledgements of a broadcast name clients that are missing, not nodes that were not heard of",
    seen: () => ({ complete: true, surplus: 0, new: [], old: [], reported: true }),
  },
  {
    operation: "ask",
    to: ["n5", "n6"],
    reason: "socket.io-redis 5 and 6 take the question for a malformed request: an error event, which nobody need listen to",
    seen: () => ({ complete: false, surplus: 0, new: [], old: [], reported: true }),
  },
  {
    operation: "askHalf",
    to: ["n5", "n6"],
    reason: "socket.io-redis 5 and 6 take the question for a malformed request: an error event, which nobody need listen to",
    seen: (should) => ({ ...should, new: [] }),
  },
  ...["fifth", "sixth"].flatMap((cluster) =>
    ["ask", "serversAsk"].map((operation) => ({
      operation,
      cluster,
      // A question of ours to clients: see above.
      ...(operation === "ask" && { from: ["n5", "n6", "n7", "n8"] }),
      reason: "the old adapters are counted but do not answer: what the others answered comes with the timeout",
      seen: (should) => ({ ...should, complete: false }),
    })),
  ),

  // ---- requests in a cluster with socket.io-redis 5
  {
    operation: "fetch",
    cluster: "fifth",
    from: ["n5", "n8"],
    reason: "nodes of the other protocol are counted but do not answer: the request fails, with all that arrived",
    seen: () => ({ complete: false, surplus: 0, new: [], old: [] }),
  },
  {
    operation: "fetch",
    cluster: "fifth",
    to: ["n5"],
    reason: "the requests of socket.io-redis 5 are another protocol",
    seen: () => ({ complete: false, surplus: 0, new: [], old: [] }),
  },
  {
    operation: "fetch",
    cluster: "fifth",
    reason: "the old adapters are counted but do not answer: what the others answered comes with the timeout",
    seen: (should) => ({ ...should, complete: false }),
  },
  {
    operation: "allRooms",
    cluster: "fifth",
    from: ["n5", "n8"],
    reason: "nodes of the other protocol are counted but do not answer: the request fails, with all that arrived",
    seen: () => ({ complete: false, room: false, once: true }),
  },
  {
    operation: "allRooms",
    cluster: "fifth",
    to: ["n5"],
    reason: "the requests of socket.io-redis 5 are another protocol",
    seen: () => ({ complete: false, room: false, once: true }),
  },
  {
    operation: "allRooms",
    cluster: "fifth",
    reason: "the old adapters are counted but do not answer: what the others answered comes with the timeout",
    seen: (should) => ({ ...should, complete: false }),
  },
  {
    operation: "remote",
    cluster: "fifth",
    from: ["n8"],
    reason: "nodes of the other protocol are counted but do not answer: the request fails, with all that arrived",
    seen: () => UNTOUCHED,
  },
  {
    operation: "remote",
    to: ["n5"],
    reason: "the requests of socket.io-redis 5 are another protocol",
    seen: () => UNTOUCHED,
  },
  {
    operation: "legacy",
    to: ["n8"],
    reason: "type 3 asks socket.io 2 to join and later ones to leave; type 4 is to leave, and to disconnect; type 6 is unknown",
    seen: () => ({ joined: ["outside", "outside"], left: [told, told], gone: ["stays", "stays"] }),
  },

  // ---- the sharded adapter
  {
    operation: "id3",
    cluster: "sharded",
    from: ["s8"],
    to: ["s8"],
    self: false,
    reason: "ids of protocol 3 in other namespaces do not look private, yet Node does not subscribe to them",
    seen: () => ({ new: [], old: [] }),
  },
];

/** Of the first rule that applies to a cell: what is seen instead of what should be, and the reason. */
export function deviation({ cluster, sender, receiver, operation, self }, should) {
  const rule = RULES.find(
    (one) =>
      one.operation === operation &&
      (one.cluster ?? cluster) === cluster &&
      (one.from ?? [sender.kind]).includes(sender.kind) &&
      (one.to ?? [receiver.kind]).includes(receiver.kind) &&
      (one.self ?? self) === self,
  );
  return rule && { reason: rule.reason, seen: rule.seen(should, { sender, receiver, self }) };
}
