/**
 * Mutants of replication: known ways to lose or falsify what a cluster has acknowledged, each as an edit of the product's sources; the simulator of clusters
 * has to find every one. Neighbours: mutants.ts has those of one broker, and what a mutant is.
 */
import type { ClusterFault } from '../sim/cluster/cluster-nemesis.ts'
import type { Edit, Mutant } from './mutants.ts'

function mutant(name: string, kinds: readonly ClusterFault[], ...edits: Edit[]): Mutant {
  return { name: `cluster: ${name}`, by: { clusterKinds: kinds }, edits }
}

export const clusterMutants: readonly Mutant[] = [
  mutant('ack before followers have it', ['kill', 'pause'], {
    file: 'replication/replica-set.ts',
    find: '      if (broker !== self) candidate = Math.min(candidate, this.#followers.get(broker)?.durableOffset ?? -1)\n',
    replace: '      if (broker === -1) candidate = self\n',
  }),
  mutant('the leader takes what a follower has written for what it has on disk', ['powerAll', 'slow'], {
    file: 'replication/partition.ts',
    find: '    set.heard(request, durableOffset, confirmed)\n',
    replace: '    set.heard(request, Math.max(offset, durableOffset), confirmed)\n',
  }),
  mutant('a follower tells of what is not synced yet', ['powerAll', 'slow'], {
    file: 'replication/replica-fetcher.ts',
    find: '...this.#who(partition.log.durableOffset)',
    replace: '...this.#who(partition.log.logEndOffset)',
  }),
  mutant('a leader that steps down tells who waits that all is well', ['cutFromEtcd', 'isolate', 'pause'], {
    file: 'replication/replica-set.ts',
    find: 'this.#waiting.fail(error)',
    replace: 'void error, this.#waiting.release(Infinity)',
  }),
  mutant('a follower cuts back to its high watermark', ['powerAll', 'kill'], {
    file: 'replication/replica-fetcher.ts',
    find: '    const { signal } = this.#stopping\n    while (!signal.aborted) {\n      try {\n        await this.#fetch()',
    replace:
      '    const { signal } = this.#stopping\n    const { highWatermark: known, log: own } = this.#options.partition\n    if (known < own.logEndOffset) await this.#options.truncate(this.#options.partition, known)\n    while (!signal.aborted) {\n      try {\n        await this.#fetch()',
  }),
  mutant('an epoch is served before it is on disk', ['kill', 'powerAll'], {
    file: 'storage/leader-epochs.ts',
    find: '{ epoch, startOffset }]\n    await this.#write()\n',
    replace: '{ epoch, startOffset }]\n',
  }),
  mutant('a broker with another disk counts as complete', ['loseDisk', 'powerAll'], {
    file: 'replication/registration.ts',
    find: 'known !== undefined && known.dataDirectoryId !== record.dataDirectoryId\n  const isOlderCopy',
    replace: "known !== undefined && known.dataDirectoryId === ''\n  const isOlderCopy",
  }),
  {
    name: 'cluster: batches of a compacted part are given as if nothing were missing',
    by: { test: 'test/replication/takeover.test.ts', pattern: 'was away while its leader compacted' },
    edits: [
      {
        file: 'storage/shared-files.ts',
        find: '      if (compaction > 0) return true\n',
        replace: '',
      },
    ],
  },
  {
    name: 'cluster: the start of a log moves before it is agreed on',
    by: { test: 'test/replication/takeover.test.ts', pattern: 'a start that was agreed on' },
    edits: [
      {
        file: 'storage/retention.ts',
        find: 'await this.adoptStart(Math.min(await advanceStart(offset), endOffset()))',
        replace: 'void advanceStart, await this.adoptStart(offset)',
      },
    ],
  },
  {
    name: 'cluster: what is not committed is compacted',
    by: { test: 'test/replication/takeover.test.ts', pattern: 'nothing that is not committed' },
    edits: [
      {
        file: 'replication/partition-cleaning.ts',
        find: '    return Math.min(highWatermark, leading?.reachedByAll ?? highWatermark)\n',
        replace: '    return leading === undefined ? highWatermark : Infinity\n',
      },
    ],
  },
  {
    name: 'cluster: retention removes what is not committed',
    by: { test: 'test/replication/takeover.test.ts', pattern: 'nothing that is not committed' },
    edits: [
      {
        file: 'storage/retention.ts',
        find: ' || segment.nextOffset > committedTo',
        replace: ' || committedTo < 0',
      },
    ],
  },
  {
    name: 'cluster: last versions stay behind when files are taken over',
    by: { test: 'test/replication/takeover.test.ts', pattern: 'first records were deleted' },
    edits: [
      {
        file: 'replication/takeover.ts',
        find: '  for (const endOffset of snapshot.heads) ',
        replace: '    for (const endOffset of snapshot.heads.slice(0, 0)) ',
      },
    ],
  },
  {
    name: 'cluster: a segment that came is kept whatever it holds',
    by: { test: 'test/storage/incoming-log.test.ts', pattern: 'is not the segment that was named' },
    edits: [
      {
        file: 'storage/incoming-log.ts',
        find: ' || received.checksum !== checksum || received.sizeBytes !== sizeBytes',
        replace: '',
      },
    ],
  },
  {
    name: 'cluster: what is being replaced counts as what the leader has',
    by: { test: 'test/replication/takeover-faults.test.ts', pattern: 'counts for nothing until' },
    edits: [
      {
        file: 'replication/replica-fetcher.ts',
        find: 'who: () => this.#who(0)',
        replace: 'who: () => this.#who(partition.log.durableOffset)',
      },
    ],
  },
  {
    name: 'cluster: an epoch of which compaction has left nothing is forgotten',
    by: { test: 'test/replication/takeover-faults.test.ts', pattern: 'compacted the last records of an epoch away' },
    edits: [
      {
        file: 'storage/log-replica.ts',
        find: 'Math.max(end.lastEpoch, began?.epoch ?? -1)',
        replace: 'Math.max(end.lastEpoch, began === undefined ? -1 : -1)',
      },
    ],
  },
  {
    name: 'cluster: a broker of a cluster cleans before it knows what it has part in',
    by: { test: 'test/replication/takeover-faults.test.ts', pattern: 'removes nothing before it knows' },
    edits: [
      {
        file: 'storage/log-store.ts',
        find: 'isReplicated === true ? heldCleaning : aloneCleaning',
        replace: 'isReplicated === true ? aloneCleaning : aloneCleaning',
      },
    ],
  },
  {
    // Seeds do not find it: between the two answers of the store the leader would have to die.
    name: 'cluster: committed by the in-sync set as it is, not as it may be',
    by: { test: 'test/replication/replica-set.test.ts', pattern: 'has not answered whether another is let in' },
    edits: [
      {
        file: 'replication/replica-set.ts',
        find: '...(this.#proposed?.isr ?? [])',
        replace: '...(this.#proposed?.isr.slice(0, 0) ?? [])',
      },
    ],
  },
  mutant(
    'who is in sync is changed without a look at whose sessions those are',
    ['kill', 'loseDisk', 'pause', 'powerAll'],
    {
      file: 'replication/isr-transaction.ts',
      find: 'modRevision: seen.modRevision }, ...[leader, ...added].map(isRegistered)]',
      replace: 'modRevision: seen.modRevision }, ...[leader, ...added].slice(2, 1).map(isRegistered)]',
    },
  ),
  mutant('writing goes on with too few in sync', ['kill', 'stop', 'loseDisk'], {
    file: 'replication/replica-set.ts',
    find: 'return isr.length >= isrMin\n',
    replace: 'return isr.length >= 0 * isrMin\n',
  }),
  mutant('a linearizable read is answered without asking who else may lead', ['isolate', 'pause', 'cutFromEtcd'], {
    file: 'replication/partition.ts',
    find: '    if (set !== undefined && !(await this.#isConfirmed(set))) {\n',
    replace: '    if (set !== undefined && set.beginRound() < 0) {\n',
  }),
  // Clients that keep what they have seen do not notice these, or the time for them is too short: tests look closer.
  {
    name: 'cluster: a new leader says where a stream ends before it knows',
    by: { test: 'test/replication/replicas.test.ts', pattern: 'a new leader that does not know' },
    edits: [
      {
        file: 'replication/replica-set.ts',
        find: 'return this.#highWatermark >= this.#options.startOffset\n',
        replace: 'return this.#highWatermark >= 0\n',
      },
    ],
  },
  {
    name: 'cluster: a refusal is told without asking who else may lead',
    by: { test: 'test/replication/replicas.test.ts', pattern: 'a refusal by version is told only once' },
    edits: [
      {
        file: 'storage/leadership.ts',
        find: 'decided.some(restsOnTheLast)',
        replace: 'decided.some((each) => decided.length < 0 && restsOnTheLast(each))',
      },
    ],
  },
  {
    name: 'cluster: a follower answers readers with what may not be committed',
    by: { test: 'test/replication/follower-reads.test.ts', pattern: 'what is not known to be committed' },
    edits: [
      {
        file: 'replication/partition.ts',
        find: 'this.#log.read({ offset, maxBytes, limitOffset: highWatermark })',
        replace: 'this.#log.read({ offset, maxBytes, limitOffset: this.#log.durableOffset })',
      },
    ],
  },
  {
    name: 'cluster: a follower answers readers though it has long heard nothing of its leader',
    by: { test: 'test/replication/follower-reads.test.ts', pattern: 'has not heard of its leader' },
    edits: [
      {
        file: 'replication/following.ts',
        find: 'nowMs - this.#heardMs <= silenceMsMax',
        replace: 'nowMs - this.#heardMs <= Infinity',
      },
    ],
  },
  {
    name: 'cluster: let in sync without having caught up',
    by: { test: 'test/replication/replica-set.test.ts', pattern: 'has all that is committed' },
    edits: [
      {
        file: 'replication/replica-set.ts',
        find: 'follower === undefined || follower.durableOffset < least)',
        replace: 'follower === undefined || follower.durableOffset < 0 * least)',
      },
    ],
  },
  {
    name: 'cluster: let in sync while nothing is heard of it',
    by: { test: 'test/replication/replica-set.test.ts', pattern: 'is silent is put out of sync once' },
    edits: [
      { file: 'replication/replica-set.ts', find: '      if (this.#keepsUp(broker)) found', replace: '      found' },
    ],
  },
  {
    name: 'cluster: let in sync below the beginning of the epoch',
    by: { test: 'test/replication/replica-set.test.ts', pattern: 'has all from before the epoch' },
    edits: [
      {
        file: 'replication/replica-set.ts',
        find: 'const least = Math.max(this.#highWatermark, this.#options.startOffset)',
        replace: 'const least = this.#highWatermark',
      },
    ],
  },
]
