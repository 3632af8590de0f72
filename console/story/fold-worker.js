/**
 * Fold worker: holds the events of one stream and answers what was true at any of them. A seek folds from the nearest snapshot: they stand every so many events, within
 * a budget of bytes. It is served with a policy of its own: no network, nothing to load; so that a function that a user writes can compute and nothing else.
 */
const snapshotBytesMax = 32 * 1024 * 1024
const snapshotsWanted = 256
const stepMin = 64
const textCharactersMax = 120

/** The last value of each field of the data; data that is no object is the field `value`. */
const lastWrites = {
  initial: () => ({}),
  apply(state, { data, dataBase64 }) {
    if (data !== null && typeof data === 'object' && !Array.isArray(data)) return Object.assign(state, data)
    state.value = data ?? dataBase64 ?? null
    return state
  },
}

let events = []
let fold = lastWrites
let snapshots = []
let snapshotBytes = 0
let step = stepMin
let failure
const skipped = new Set()

function forget() {
  snapshots = []
  snapshotBytes = 0
  step = Math.max(stepMin, Math.ceil(events.length / snapshotsWanted))
  failure = undefined
}

function load(text) {
  const parsed = JSON.parse(text)
  const page = Array.isArray(parsed) ? parsed : parsed.events
  const known = events.at(-1)?.version ?? -1
  const added = page.filter(({ version }) => version > known)
  for (const event of added) events.push(event)
  step = Math.max(step, Math.ceil(events.length / snapshotsWanted))
  const times = Float64Array.from(added, ({ timestamp }) => Date.parse(timestamp))
  const versions = Float64Array.from(added, ({ version }) => version)
  postMessage({ kind: 'loaded', times, versions, types: added.map(({ type }) => type ?? '') }, [
    times.buffer,
    versions.buffer,
  ])
}

/** Compiles what a user wrote: `(state, event) => state`, or `{ initial, apply }`. */
function compile(source) {
  const made = new Function(`"use strict"; return (${source}\n)`)()
  if (typeof made === 'function') return { initial: () => ({}), apply: made }
  if (typeof made?.apply === 'function')
    return {
      initial: typeof made.initial === 'function' ? made.initial : () => structuredClone(made.initial ?? {}),
      apply: made.apply,
    }
  throw new TypeError('found neither a function (state, event) => state nor an object { initial, apply }')
}

/** The state after the event at `index`, fresh; -1 = before all. Stops at the event where the fold throws. */
function stateAt(index) {
  const last = failure === undefined ? index : Math.min(index, failure.index - 1)
  let place = snapshots.length - 1
  while (place >= 0 && snapshots[place].index > last) place--
  const snapshot = snapshots[place]
  let state = snapshot === undefined ? fold.initial() : structuredClone(snapshot.state)
  for (let at = (snapshot?.index ?? -1) + 1; at <= last; at++) {
    if (!skipped.has(at)) {
      try {
        state = fold.apply(state, events[at]) ?? state
      } catch (error) {
        failure = {
          index: at,
          version: events[at].version,
          message: String(error?.message ?? error),
          place: placeOf(error),
        }
        // What it left half-done is thrown away with the state.
        return stateAt(at - 1)
      }
    }
    if (at % step === step - 1 && at > (snapshots.at(-1)?.index ?? -1)) keep(at, state)
  }
  return state
}

function placeOf(error) {
  return /<anonymous>:(\d+):(\d+)/
    .exec(error?.stack ?? '')
    ?.slice(1, 3)
    .join(':')
}

function keep(index, state) {
  const bytes = 2 * (JSON.stringify(state)?.length ?? 0)
  snapshots.push({ index, state: structuredClone(state), bytes })
  snapshotBytes += bytes
  while (snapshotBytes > snapshotBytesMax && snapshots.length > 1) {
    snapshots = snapshots.filter((_, place) => place % 2 === 1)
    snapshotBytes = snapshots.reduce((sum, each) => sum + each.bytes, 0)
    step *= 2
  }
}

function rowOf(index) {
  const { version, type, timestamp, data, dataBase64 } = events[index]
  const text = dataBase64 === undefined ? JSON.stringify(data) : `${dataBase64.length} characters of base64`
  return { index, version, type, timestamp, text: text?.slice(0, textCharactersMax) ?? '' }
}

function answer({ id, at, compare, rows: [from, to] }) {
  const rows = []
  for (let index = Math.max(0, from); index < Math.min(to, events.length); index++) rows.push(rowOf(index))
  const other = compare ?? at - 1
  const before = stateAt(Math.min(at, other))
  const after = stateAt(Math.max(at, other))
  const state = at >= other ? after : before
  postMessage({
    kind: 'answer',
    id,
    at,
    state,
    before,
    after,
    event: events[at],
    rows,
    failure: failure !== undefined && failure.index <= Math.max(at, other) ? failure : undefined,
  })
}

onmessage = ({ data: message }) => {
  try {
    if (message.kind === 'load') load(message.text)
    else if (message.kind === 'fold') {
      fold = message.source === undefined ? lastWrites : compile(message.source)
      skipped.clear()
      forget()
      postMessage({ kind: 'folds', problem: undefined })
    } else if (message.kind === 'skip') {
      skipped.add(message.index)
      forget()
    } else if (message.kind === 'ask') answer(message)
    else if (message.kind === 'export')
      postMessage({
        kind: 'exported',
        text: events
          .slice(message.from, message.to + 1)
          .map((event) => JSON.stringify(event))
          .join('\n'),
      })
  } catch (error) {
    fold = lastWrites
    forget()
    postMessage({
      kind: message.kind === 'ask' ? 'answer' : 'folds',
      id: message.id,
      at: message.at,
      state: {},
      before: {},
      after: {},
      rows: [],
      problem: String(error?.message ?? error),
    })
  }
}
