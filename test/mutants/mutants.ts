/**
 * Mutants: known ways to lose or falsify data, each as an edit of the product's sources. A harness that does not find them finds nothing; one that
 * survives means that the harness is too weak. The first seven are classics, the others are this product's own.
 * Neighbours: mutated-copy.ts applies them to a copy, run.ts lets the harness loose on it.
 */
import type { ClusterFault } from '../sim/cluster/cluster-nemesis.ts'
import type { Fault } from '../sim/nemesis.ts'

export interface Edit {
  readonly file: string
  /** Stands in the file exactly once. */
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  readonly edits: readonly Edit[]
  /** Who has to find it: seeds of the simulator with these faults, of one broker or of a cluster, or tests of this name. */
  readonly by:
    | { readonly kinds: readonly Fault[] }
    | { readonly clusterKinds: readonly ClusterFault[] }
    | { readonly test: string; readonly pattern: string }
}

export const mutants: readonly Mutant[] = [
  {
    name: 'ack before fdatasync',
    by: { kinds: ['power'] },
    edits: [
      {
        file: 'storage/appender.ts',
        find: '    await file.append(parts, first.position)\n',
        replace: `    const written = file.append(parts, first.position)
    this.#durableOffset = last.nextOffset
    this.#options.onDurable(runs)
    this.#waiting.release(this.#durableOffset)
    await written
`,
      },
      {
        file: 'storage/appender.ts',
        find: '    commits.batches.add(group.length)\n    this.#options.onDurable(runs)\n    this.#waiting.release(this.#durableOffset)\n',
        replace: '    commits.batches.add(group.length)\n',
      },
    ],
  },
  {
    name: 'retry of fsync',
    by: { test: 'test/platform/node-file-system.test.ts', pattern: 'once a sync has failed' },
    edits: [
      {
        file: 'platform/node-file-system.ts',
        find: `    await this.#fdatasync()
    await Promise.all(this.#syncing)
    if (this.#syncError !== undefined) throw this.#syncError
`,
        replace: '    await this.#fdatasync().catch(() => this.#fdatasync())\n',
      },
    ],
  },
  {
    name: 'a failed write or sync is taken for done',
    by: { kinds: ['syncError', 'power'] },
    edits: [
      {
        file: 'storage/appender.ts',
        find: '    await file.append(parts, first.position)\n',
        replace: '    await file.append(parts, first.position).catch(() => undefined)\n',
      },
    ],
  },
  {
    name: 'waiters hear yes when the log fails',
    by: { kinds: ['syncError', 'power'] },
    edits: [
      {
        file: 'storage/appender.ts',
        find: 'this.#waiting.fail(failure)\n',
        replace: 'this.#waiting.release(Infinity)\n',
      },
    ],
  },
  {
    name: 'cut at the first bad CRC',
    by: { kinds: ['flip', 'kill'] },
    edits: [
      {
        file: 'storage/segment-recovery.ts',
        find: 'const proven = nextBase ?? Math.max(behind.floor, this.#checkpointFloor(), entry.footer?.nextOffset ?? 0)',
        replace: 'const proven = nextBase ?? 0',
      },
    ],
  },
  {
    name: 'version check against committed only',
    by: { kinds: ['slow'] },
    edits: [
      {
        file: 'storage/log-end.ts',
        find: 'const found = index.lastVersion(stream)\n',
        replace: 'const found = index.lastBelow(stream, this.#options.appender.durableOffset).lastVersion\n',
      },
      {
        file: 'storage/log-end.ts',
        find: 'index.hotVersion(keys) === expected[0]?.version',
        replace: 'keys.count < 0',
      },
    ],
  },
  {
    name: 'dedupe after the version check',
    by: { kinds: ['reset', 'cutOneWay'] },
    edits: [
      {
        file: 'storage/log-end.ts',
        find: `    const seen = producers.check(producer)
    if (seen !== 'new') return this.#duplicate(append, seen)
    const conflicts = this.#conflicts(append)
`,
        replace: `    const conflicts = this.#conflicts(append)
    const seen = conflicts.length > 0 ? 'new' : producers.check(producer)
    if (seen !== 'new') return this.#duplicate(append, seen)
`,
      },
    ],
  },
  {
    name: 'index ahead of the high watermark',
    by: { kinds: ['slow'] },
    edits: [
      {
        file: 'storage/log-reader.ts',
        find: `      const { segments, durableOffset } = this.#options.extent()
      let limitOffset = Math.min(request.limitOffset, durableOffset)
`,
        replace: `      const { segments, logEndOffset } = this.#options.extent()
      let limitOffset = logEndOffset
`,
      },
    ],
  },
  {
    name: 'checkpoint before data',
    by: { kinds: ['power', 'slow'] },
    edits: [
      {
        file: 'storage/checkpointer.ts',
        find: 'await appender.durable(capture.nextOffset)',
        replace: 'await Promise.resolve()',
      },
    ],
  },
  {
    name: 'the tail past the floor is not written again',
    by: { kinds: ['syncError', 'power'] },
    edits: [
      {
        file: 'storage/tail-repair.ts',
        find: '  if (unprovenFrom !== undefined) await writeAgain(file, unprovenFrom, end)\n',
        replace: '  if (unprovenFrom === -1) await writeAgain(file, unprovenFrom, end)\n',
      },
    ],
  },
  {
    name: 'what stands behind a torn write is not cut off',
    by: { kinds: ['power', 'kill'] },
    edits: [
      {
        file: 'storage/tail-repair.ts',
        find: '  if (cut) await file.truncate(end)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'a refusal is told before what it names is durable',
    by: { kinds: ['power', 'slow'] },
    edits: [
      {
        file: 'storage/log-end.ts',
        find: 'return { outcome, restsOn: lastOffset + 1, onLeader: false }',
        replace: 'return { outcome, restsOn: 0 * lastOffset, onLeader: false }',
      },
    ],
  },
  {
    name: 'a retry is answered before the first time is durable',
    by: { kinds: ['reset', 'slow', 'power'] },
    edits: [
      {
        file: 'storage/log-end.ts',
        find: `duplicate: true, versions }
    const { acks } = append.group
    return { outcome, restsOn: acks === 'none' ? 0 : endOffset, onLeader: acks === 'leader' }`,
        replace: `duplicate: true, versions }
    return { outcome, restsOn: 0, onLeader: false }`,
      },
    ],
  },
  {
    name: 'recovery forgets the producers of the tail',
    by: { kinds: ['kill', 'reset'] },
    edits: [
      {
        file: 'storage/recovery.ts',
        find: 'if (baseOffset >= this.#producersTo) this.#producers.record(producer, baseOffset, appendTimeMs)',
        replace: 'if (baseOffset < 0) this.#producers.record(producer, baseOffset, appendTimeMs)',
      },
    ],
  },
  {
    name: 'a write calls itself durable',
    by: { kinds: ['power'] },
    edits: [
      {
        file: 'storage/appender.ts',
        find: '    const floor = this.#durableOffset\n    const { parts, bytes, runs }',
        replace: '    const floor = last.nextOffset\n    const { parts, bytes, runs }',
      },
    ],
  },
  {
    name: 'reads do not check the batch',
    by: { kinds: ['flip'] },
    edits: [
      {
        file: 'storage/batch-cutter.ts',
        find: '    return ownFault(bytes, start, start + batchBytes)\n',
        replace: '    return start < 0 ? ownFault(bytes, start, start + batchBytes) : undefined\n',
      },
    ],
  },
  {
    name: 'reads go to the end of the log',
    by: { kinds: ['slow', 'power'] },
    edits: [
      {
        file: 'storage/log-reader.ts',
        find: '    const limit = Math.min(limitOffset, extent.durableOffset)\n',
        replace: '    const limit = limitOffset\n',
      },
      {
        file: 'replication/partition.ts',
        find: '{ offset, maxBytes, limitOffset: highWatermark }',
        replace: '{ offset, maxBytes, limitOffset: this.#log.logEndOffset }',
      },
    ],
  },
  {
    name: 'an index of before a compaction is gone on with',
    by: { test: 'test/storage/compaction.test.ts', pattern: 'killed before any change of a file' },
    edits: [
      {
        file: 'storage/recovery.ts',
        find: '    if (reachesTo === 0 || !isBehind) return\n',
        replace: '    if (reachesTo === 0 || isBehind) return\n',
      },
    ],
  },
  {
    name: 'compaction goes past what the index has saved',
    by: { test: 'test/storage/compaction.test.ts', pattern: 'it saves the index first' },
    edits: [
      {
        file: 'storage/compaction.ts',
        find: '    if (end === undefined || !this.isDue || index.indexedTo < end) return // the next round tries again\n',
        replace: '    if (end === undefined || !this.isDue) return\n',
      },
    ],
  },
  {
    name: 'a sidecar takes the versions of heads that another save has left behind',
    by: { test: 'test/storage/versions-in-order.test.ts', pattern: 'equal a model' },
    edits: [
      {
        file: 'storage/versions-in-order.ts',
        find: '    if (state !== sources.state()) [state, headOf]',
        replace: '    if (state.hasStreams !== sources.state().hasStreams) [state, headOf]',
      },
    ],
  },
]
