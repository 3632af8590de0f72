import assert from 'node:assert/strict'
import { test } from 'node:test'
import { HistoryChecker } from './history-checker.ts'
import type { AnomalyKind, AppendOperation, Dump, Operation, ReadOperation, StreamReadOperation } from './history.ts'

let clock = 0
let counter = 0

/** An append of one event each to `streams`, called and answered now. Producer and sequence are its own unless given. */
function append(streams: readonly string[], change: Partial<AppendOperation> = {}): AppendOperation {
  const sequence = counter++
  return {
    kind: 'append',
    session: 'client-1',
    invokedAt: ++clock,
    completedAt: ++clock,
    partition: 0,
    producer: `p${sequence}`,
    sequence,
    events: streams.map((stream, index) => ({ stream, value: `${stream}${sequence}.${index}` })),
    expected: [],
    outcome: { kind: 'written' },
    ...change,
  }
}

const written = (baseOffset: number, versions?: readonly number[]) => ({
  outcome: { kind: 'written', baseOffset, ...(versions && { versions }) } as const,
})
const unknown = { outcome: { kind: 'unknown' }, completedAt: Infinity } as const
const refused = (stream: string, expected: number, found: number) =>
  ({ outcome: { kind: 'refused', conflicts: [{ stream, expected, found }] } }) as const

/** All that the appends wrote, one after the other from offset 0. */
function dump(...appends: readonly AppendOperation[]): Dump {
  const entries = appends.flatMap(({ events }) => events).map((event, offset) => ({ ...event, offset }))
  return { kind: 'dump', partition: 0, entries, damaged: [] }
}

function read(appends: readonly AppendOperation[], change: Partial<ReadOperation> = {}): ReadOperation {
  const { entries } = dump(...appends)
  const span = { session: 'client-2', invokedAt: ++clock, completedAt: ++clock }
  const what = { partition: 0, fromOffset: 0, entries, highWatermark: entries.length, isLinearizable: true }
  return { kind: 'read', ...span, ...what, ...change }
}

function tail(highWatermark: number, logStartOffset = 0, session = 'client-2'): Operation {
  const span = { session, invokedAt: ++clock, completedAt: ++clock }
  return { kind: 'tail', ...span, partition: 0, logStartOffset, highWatermark, isLinearizable: true }
}

function readStream(entries: StreamReadOperation['entries']): StreamReadOperation {
  const span = { session: 'client-2', invokedAt: ++clock, completedAt: ++clock }
  return { kind: 'readStream', ...span, partition: 0, stream: 'a', fromVersion: 0, entries }
}

function kindsOf(history: readonly Operation[]): AnomalyKind[] {
  const checker = new HistoryChecker()
  for (const operation of history) checker.add(operation)
  return [...new Set(checker.finish().anomalies.map(({ kind }) => kind))].toSorted()
}

/** One history per class of error: all fine but for that. */
const histories: Record<AnomalyKind, () => Operation[]> = {
  abortedRead() {
    const [first, second] = [append(['a'], written(0, [0])), append(['a'], refused('a', 4, 0))]
    return [first, second, dump(first, second)]
  },
  brokenCondition() {
    const first = append(['a'], written(0, [0]))
    const second = append(['a'], { ...written(1, [1]), expected: [{ stream: 'a', version: -1 }] })
    return [first, second, dump(first, second)]
  },
  disagreeingRetry() {
    const first = append(['a'], { ...written(0), producer: 'p' })
    const retry = append([], { ...written(7), producer: 'p', sequence: first.sequence })
    return [first, retry, dump(first)].toSpliced(1, 1, { ...retry, events: [] })
  },
  duplicate() {
    const first = append(['a'], unknown)
    return [first, dump(first, first)]
  },
  epochRegression() {
    const first = append(['a', 'b'])
    const { entries, ...rest } = dump(first)
    return [first, { ...rest, entries: entries.map((entry) => ({ ...entry, epoch: 5 - entry.offset })) }]
  },
  falseConflict() {
    const [first, second] = [append(['a'], written(0, [0])), append(['a'], refused('a', 0, -1))]
    return [first, second, dump(first)]
  },
  garbage() {
    const [first, stranger] = [append(['a'], written(0)), append(['b'])]
    return [first, dump(first, stranger)]
  },
  highWatermarkRegression() {
    const first = append(['a', 'b'], unknown)
    return [first, tail(2), tail(1, 0, 'client-3'), dump(first)]
  },
  inconsistentOffset() {
    const [first, second] = [append(['a'], unknown), append(['b'], unknown)]
    const both = [...dump(first).entries, ...dump(second).entries]
    return [first, second, { ...dump(), entries: both }]
  },
  logStartRegression() {
    const first = append(['a', 'b'], written(0))
    return [first, tail(2, 1), tail(2, 0), dump(first)]
  },
  lostWrite() {
    const [first, second] = [append(['a'], written(0)), append(['b'], written(1))]
    return [first, second, dump(first)]
  },
  nonmonotonicRead() {
    const first = append(['a', 'b'], written(0))
    const { entries } = dump(first)
    return [first, read([first], { entries: [...entries, entries[0]!] }), dump(first)]
  },
  nonmonotonicSend() {
    const [first, second] = [append(['a'], written(1)), append(['b'], written(0))]
    return [first, second, dump(second, first)]
  },
  phantomConflict() {
    const [first, second] = [append(['a'], written(0, [0])), append(['a'], refused('a', 4, 3))]
    return [first, second, dump(first)]
  },
  reorderedProducer() {
    const first = append(['a'], { ...written(1), producer: 'p', completedAt: 1e6 })
    const second = append(['b'], { ...written(0), producer: 'p', completedAt: 1e6 + 1 })
    return [first, second, dump(second, first)]
  },
  sessionRegression() {
    const first = append(['a', 'b'], written(0))
    return [first, read([], { session: 'client-1', highWatermark: 1, isLinearizable: false }), dump(first)]
  },
  skippedRead() {
    const first = append(['a', 'b', 'c'], written(0))
    return [first, read([first], { entries: dump(first).entries.toSpliced(1, 1) }), dump(first)]
  },
  staleRead() {
    const first = append(['a', 'b'], written(0))
    return [first, read([], { highWatermark: 1 }), dump(first)]
  },
  tornAppend() {
    const first = append(['a', 'b'], unknown)
    const [half] = first.events
    return [first, dump({ ...first, events: [half!] })]
  },
  uncommittedRead() {
    const first = append(['a', 'b'], unknown)
    return [first, read([first], { highWatermark: 1 }), dump(first)]
  },
  unseen: () => [append(['a'], written(0))],
  vanishedRead() {
    const [first, second] = [append(['a'], written(0)), append(['b'], unknown)]
    return [first, second, read([first, second]), dump(first)]
  },
  versionGap() {
    const [first, second] = [append(['a'], written(0, [0])), append(['a'], written(1, [2]))]
    return [first, second, dump(first, second)]
  },
}

for (const [kind, history] of Object.entries(histories)) {
  test(`history: ${kind} is found, and nothing else`, () => assert.deepEqual(kindsOf(history()), [kind]))
}

test('history: a stream read that ends before what was acknowledged is stale', () => {
  const first = append(['a', 'a'], written(0, [0, 1]))
  assert.deepEqual(
    kindsOf([first, readStream([{ offset: 0, version: 0, value: first.events[0]!.value }]), dump(first)]),
    ['staleRead'],
  )
})

test('history: a stream read that leaves a version out is a gap', () => {
  const first = append(['a', 'a'], unknown)
  const entries = [{ offset: 1, version: 1, value: first.events[1]!.value }]
  assert.deepEqual(kindsOf([first, readStream(entries), dump(first)]), ['versionGap'])
})

test('history: a conflict that names a version the stream got only later, or had left before, is a phantom', () => {
  const later = append(['a'], refused('a', 5, 0))
  const first = append(['a'], written(0, [0]))
  const second = append(['a'], written(1, [1]))
  const earlier = append(['a'], refused('a', 5, 0))
  assert.deepEqual(kindsOf([later, first, second, dump(first, second)]), ['phantomConflict'])
  assert.deepEqual(kindsOf([first, second, earlier, dump(first, second)]), ['phantomConflict'])
})

test('history: whole and lawful: retries, conflicts, unknown outcomes, gaps from damage that is known', () => {
  const first = append(['a', 'b'], written(0, [0, 0]))
  const late = append(['a'], { ...unknown, producer: 'p', sequence: 4 })
  const retry = append([], { ...late, ...written(2, [1]), completedAt: ++clock })
  const conflict = append(['a'], refused('a', 0, 1))
  const never = append(['b'], unknown)
  const last = append(['b'], { ...written(3, [1]), expected: [{ stream: 'b', version: 0 }] })
  const seen = readStream([
    { offset: 0, version: 0, value: first.events[0]!.value },
    { offset: 2, version: 1, value: late.events[0]!.value },
  ])
  const whole = dump(first, late, last)
  const operations = [first, late, retry, conflict, never, last, seen, read([first, late, last]), tail(4)]
  assert.deepEqual(kindsOf([...operations, whole]), [])
  const damaged = { ...whole, entries: whole.entries.toSpliced(1, 2), damaged: [{ from: 1, until: 3 }] }
  assert.deepEqual(kindsOf([...operations, damaged]), [])
})

test('history: behind damage versions are judged all the same, where it is known what was lost; else by what was told of them alone', () => {
  const [first, second] = [append(['a'], written(0, [0])), append(['a'], written(1, [1]))]
  const third = append(['a'], written(2, [1]))
  const whole = dump(first, second, third)
  const damaged = { ...whole, entries: whole.entries.toSpliced(1, 1), damaged: [{ from: 1, until: 2 }] }
  assert.deepEqual(kindsOf([first, second, third, damaged]), ['versionGap'])
  assert.deepEqual(kindsOf([first, second, third, { ...damaged, isDerivedLost: true }]), [])
  const unsaid = append(['a'], unknown)
  assert.deepEqual(kindsOf([first, unsaid, third, damaged].toSpliced(1, 1)), [])
})

test('history: a stream read that damage ends is not stale', () => {
  const first = append(['a', 'a'], written(0, [0, 1]))
  const entries = [{ offset: 0, version: 0, value: first.events[0]!.value }]
  const damaged = { ...dump(first), entries: dump(first).entries.slice(0, 1), damaged: [{ from: 1, until: 2 }] }
  assert.deepEqual(kindsOf([first, { ...readStream(entries), isEndedByDamage: true }, damaged]), [])
  assert.deepEqual(kindsOf([first, readStream(entries), damaged]), ['staleRead'])
})

test('history: what a producer writes twice is a duplicate, unless what it wrote first was to be removed', () => {
  const first = append(['a'], unknown)
  const kinds = (trimmedTo: number) => {
    const checker = new HistoryChecker()
    for (const operation of [first, read([first])]) checker.add(operation)
    checker.trimming(0, trimmedTo)
    const { entries, ...rest } = dump(first, first)
    checker.add({ ...rest, entries: entries.slice(1), damaged: [{ from: 0, until: 1 }] })
    return checker.finish().anomalies.map(({ kind }) => kind)
  }
  assert.deepEqual(kinds(0), ['duplicate'])
  assert.deepEqual(kinds(1), [])
})

test('history: the answer to what a producer wrote first says nothing of when it wrote it again', () => {
  const [first, second] = [append(['a']), append(['a'], written(1, [1]))]
  const before = read([first, second])
  const beforeAgain = [append(['a'], refused('a', 0, 1)), append(['a'], refused('a', 2, 1))]
  const again = append(['a'], { producer: first.producer, sequence: first.sequence, events: first.events })
  const last = append(['a'], written(3, [3]))
  const tooLate = append(['a'], refused('a', 0, 2))
  const found = (conflicts: readonly AppendOperation[]) => {
    const checker = new HistoryChecker()
    for (const operation of [first, second, before]) checker.add(operation)
    checker.trimming(0, 1)
    for (const operation of [...conflicts, again, last, tooLate]) checker.add(operation)
    const { entries, ...rest } = dump(first, second, first, last)
    checker.add({ ...rest, entries: entries.slice(1), damaged: [{ from: 0, until: 1 }] })
    return checker.finish().anomalies.map(({ message }) => message)
  }
  const { producer, sequence, invokedAt, completedAt } = tooLate
  const name = `${producer}#${sequence} (${invokedAt}…${completedAt})`
  const phantom = `stream a: ${name} was told version 2, which the stream had left before`
  assert.deepEqual(found(beforeAgain), [phantom])
})

test('history: operations that come out of the order of their completion are a bug of the harness', () => {
  const [first, second] = [append(['a']), append(['a'])]
  assert.throws(() => kindsOf([second, first]), /in order of their completion/)
})

test('history: 10^6 operations, and the last of them wrong', (t) => {
  const count = 1_000_000
  const checker = new HistoryChecker()
  const entries: Dump['entries'][number][] = []
  const startedMs = performance.now()
  for (let at = 0; at < count; at++) {
    const offset = entries.length
    const stream = `s${at % 10_000}`
    const version = Math.floor(at / 10_000 / 4) * 3 + (Math.floor(at / 10_000) % 4)
    const span = { session: `c${at % 16}`, invokedAt: at * 2, completedAt: at * 2 + 1, partition: 0 }
    if (Math.floor(at / 10_000) % 4 === 3) {
      const first = Math.max(0, offset - 10)
      checker.add({
        kind: 'read',
        ...span,
        fromOffset: first,
        entries: entries.slice(first),
        highWatermark: offset,
        isLinearizable: true,
      })
      continue
    }
    const value = `v${at}`
    entries.push({ stream, value, offset })
    checker.add({
      kind: 'append',
      ...span,
      producer: `p${at % 16}`,
      sequence: at,
      events: [{ stream, value }],
      expected: [{ stream, version: version - 1 }],
      outcome: { kind: 'written', baseOffset: offset, versions: [version] },
    })
  }
  checker.add({ kind: 'dump', partition: 0, entries: entries.slice(0, -1), damaged: [] })
  const { anomalies, operations } = checker.finish()
  t.diagnostic(`${operations} operations in ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
  assert.ok(anomalies.every(({ kind }) => kind === 'lostWrite' || kind === 'vanishedRead'))
  assert.ok(anomalies.some(({ kind }) => kind === 'lostWrite'))
  assert.equal(operations, count + 1)
})
