/**
 * A model of one partition on three brokers, small enough to look at every order of events: appends, fetches, high watermarks, in-sync changes whose
 * transactions are delayed, lost or answered late, and a controller that takes anybody for gone at any time. In-sync sets change by the real
 * function of isr-change.ts. Looks for an acknowledged entry that a leader, or anybody who could become one, does not have.
 * Rules can be left out, to show that the search finds what each of them prevents.
 */
import { newPartitionState, next } from '../../replication/isr-change.ts'
import type { PartitionState } from '../../replication/isr-change.ts'

const brokers = [0, 1, 2]
const ids = [1, 2, 3]
const isrMin = 2

/** What a leader must heed. */
export interface Rules {
  /** The high watermark counts the old and the new in-sync set while a change is on its way. */
  readonly countsMaximalIsr: boolean
  /** It stands still while fewer than isrMin are in sync. */
  readonly waitsForIsrMin: boolean
  /** Who joins has fetched all that is committed, and all from before this epoch, in this epoch. */
  readonly expandNeedsCaughtUp: boolean
  /** What a follower has counts only when it was fetched in the leader's epoch. */
  readonly fetchNeedsEpoch: boolean
  /** A change stands on the revision it was computed from. */
  readonly changeNeedsRevision: boolean
}

export const allRules: Rules = {
  countsMaximalIsr: true,
  waitsForIsrMin: true,
  expandNeedsCaughtUp: true,
  fetchNeedsEpoch: true,
  changeNeedsRevision: true,
}

interface Leading {
  readonly epoch: number
  /** Where its log ended when it was elected. */
  readonly startOffset: number
  /** The partition as it last saw it. */
  readonly seen: PartitionState
  readonly revision: number
  /** In sync while a change is on its way: it and the committed ones count. */
  readonly proposed: readonly number[]
  /** How far each has said that it has the log, in this epoch. */
  readonly durable: readonly number[]
}

interface Replica {
  /** The epoch of each entry: with the offset it names the entry. */
  readonly log: readonly number[]
  readonly epoch: number
  readonly highWatermark: number
  readonly leading: Leading | undefined
}

interface World {
  readonly partition: PartitionState
  readonly revision: number
  readonly replicas: readonly Replica[]
  readonly onItsWay: readonly { readonly revision: number; readonly changed: PartitionState }[]
  /** Every entry that was acknowledged, by offset. */
  readonly acknowledged: readonly number[]
  readonly elections: number
  readonly proposals: number
}

/** With 1, 2 and 2 there are five times as many states, and with 2, 1 and 1 a third: neither showed more. */
const entriesMax = 1
const electionsMax = 2
const proposalsMax = 1

function first(): World {
  const partition = newPartitionState({ replicas: ids, isrMin, nonce: '' })
  const leading = { epoch: 1, startOffset: 0, seen: partition, revision: 1, proposed: ids, durable: [0, 0, 0] }
  const replica = (place: number): Replica => ({
    log: [],
    epoch: 1,
    highWatermark: 0,
    leading: place === 0 ? leading : undefined,
  })
  return {
    partition,
    revision: 1,
    replicas: brokers.map(replica),
    onItsWay: [],
    acknowledged: [],
    elections: 0,
    proposals: 0,
  }
}

const withReplica = (world: World, at: number, replica: Replica): World => ({
  ...world,
  replicas: world.replicas.map((one, place) => (place === at ? replica : one)),
})

/** Everything that can happen next. */
function* steps(world: World, rules: Rules): Generator<World> {
  for (const at of brokers) {
    yield* leaderSteps(world, at, rules)
    yield* learn(world, at)
  }
  for (const [place, { revision, changed }] of world.onItsWay.entries()) {
    const rest = world.onItsWay.filter((_, other) => other !== place)
    const isCurrent = revision === world.revision || !rules.changeNeedsRevision
    yield isCurrent
      ? { ...world, onItsWay: rest, partition: changed, revision: world.revision + 1 }
      : { ...world, onItsWay: rest }
  }
  if (world.elections >= electionsMax) return
  for (const gone of [[1], [2], [3], [1, 2], [1, 3], [2, 3]]) {
    const electable = ids.filter((broker) => !gone.includes(broker))
    const partition = next(world.partition, { kind: 'brokersGone', gone, electable }, '')
    if (partition !== world.partition) yield changedBy(world, partition)
  }
  const back = next(world.partition, { kind: 'electAny', electable: ids }, '')
  if (back !== world.partition) yield changedBy(world, back)
}

function changedBy(world: World, partition: PartitionState): World {
  return { ...world, partition, revision: world.revision + 1, elections: world.elections + 1 }
}

function* leaderSteps(world: World, at: number, rules: Rules): Generator<World> {
  const me = world.replicas[at]!
  const { leading } = me
  if (leading === undefined) return
  if (me.log.length < entriesMax) yield withReplica(world, at, { ...me, log: [...me.log, leading.epoch] })
  yield* commit(world, at, rules)
  for (const follower of brokers) if (follower !== at) yield* fetch(world, at, follower, rules)
  if (world.proposals < proposalsMax && leading.proposed === leading.seen.isr) yield* propose(world, at, rules)
}

function* commit(world: World, at: number, rules: Rules): Generator<World> {
  const me = world.replicas[at]!
  const { seen, proposed, durable, startOffset } = me.leading!
  if (rules.waitsForIsrMin && seen.isr.length < isrMin) return
  const counted = rules.countsMaximalIsr ? new Set([...seen.isr, ...proposed]) : new Set(proposed)
  const ends = [...counted].map((broker) => (broker - 1 === at ? me.log.length : durable[broker - 1]!))
  const end = Math.min(...ends)
  if (end <= me.highWatermark || end < startOffset) return
  const acknowledged = [...world.acknowledged]
  for (let offset = me.highWatermark; offset < end; offset++) acknowledged[offset] ??= me.log[offset]!
  yield withReplica({ ...world, acknowledged }, at, { ...me, highWatermark: end })
}

/** One fetch to its end: the follower's log becomes the leader's, and the leader hears of it. */
function* fetch(world: World, at: number, follower: number, rules: Rules): Generator<World> {
  const me = world.replicas[at]!
  const other = world.replicas[follower]!
  const leading = me.leading!
  if (rules.fetchNeedsEpoch ? other.epoch !== leading.epoch : other.epoch < leading.epoch) return
  if (other.leading !== undefined) return
  const isSame = other.log.length === me.log.length && other.log.every((epoch, offset) => epoch === me.log[offset])
  if (isSame && leading.durable[follower] === me.log.length && other.highWatermark === me.highWatermark) return
  const durable = leading.durable.map((end, place) => (place === follower ? me.log.length : end))
  // It hears of the high watermark with the data.
  const fetched = withReplica(world, follower, {
    ...other,
    log: me.log,
    highWatermark: Math.max(other.highWatermark, me.highWatermark),
  })
  yield withReplica(fetched, at, { ...me, leading: { ...leading, durable } })
}

function* propose(world: World, at: number, rules: Rules): Generator<World> {
  const me = world.replicas[at]!
  const leading = me.leading!
  for (const broker of ids) {
    if (broker - 1 === at) continue
    const end = leading.durable[broker - 1]!
    const isCaughtUp = end >= me.highWatermark && end >= leading.startOffset
    const isIn = leading.seen.isr.includes(broker)
    if (!isIn && rules.expandNeedsCaughtUp && !isCaughtUp) continue
    const event = isIn
      ? ({ kind: 'shrink', leader: at + 1, remove: [broker] } as const)
      : ({ kind: 'expand', leader: at + 1, add: [broker] } as const)
    const changed = next(leading.seen, event, '')
    if (changed === leading.seen) continue
    const onItsWay = [...world.onItsWay, { revision: leading.revision, changed }]
    const proposing = { ...me, leading: { ...leading, proposed: changed.isr } }
    yield withReplica({ ...world, onItsWay, proposals: world.proposals + 1 }, at, proposing)
  }
}

/** A broker reads the partition: it hears of an epoch, of its being elected, or of what became of its change. */
function* learn(world: World, at: number): Generator<World> {
  const me = world.replicas[at]!
  const { partition, revision } = world
  if (partition.leaderEpoch > me.epoch) {
    const isElected = partition.leader === at + 1
    const startOffset = me.log.length
    const fresh = {
      epoch: partition.leaderEpoch,
      startOffset,
      seen: partition,
      revision,
      proposed: partition.isr,
      durable: [0, 0, 0],
    }
    yield withReplica(world, at, { ...me, epoch: partition.leaderEpoch, leading: isElected ? fresh : undefined })
  } else if (me.leading !== undefined && revision > me.leading.revision) {
    const leading = { ...me.leading, seen: partition, revision, proposed: partition.isr }
    yield withReplica(world, at, { ...me, leading })
  }
}

/** What is wrong with it; undefined when all is well. */
function violation({ partition, replicas, acknowledged }: World): string | undefined {
  const lacks = (broker: number) => acknowledged.some((epoch, offset) => replicas[broker - 1]!.log[offset] !== epoch)
  for (const broker of [...partition.isr, ...partition.elr]) {
    if (lacks(broker)) return `broker ${broker} may be elected and lacks what was acknowledged`
  }
  return undefined
}

export interface Search {
  readonly states: number
  readonly violation: string | undefined
}

/** Looks at every state that can be reached, nearest first. */
export function search(rules: Rules): Search {
  const seen = new Set([keyOf(first())])
  let open = [first()]
  while (open.length > 0) {
    const reached: World[] = []
    for (const world of open) {
      const found = violation(world)
      if (found !== undefined) return { states: seen.size, violation: `${found}: ${keyOf(world)}` }
      for (const after of steps(world, rules)) {
        const key = keyOf(after)
        if (seen.has(key)) continue
        seen.add(key)
        reached.push(after)
      }
    }
    open = reached
  }
  return { states: seen.size, violation: undefined }
}

function keyOf({ partition, revision, replicas, onItsWay, acknowledged, elections, proposals }: World): string {
  const short = ({ leader, leaderEpoch, isr, elr }: PartitionState) =>
    `${leader}e${leaderEpoch}i${isr.join('')}l${elr.join('')}`
  const replica = ({ log, epoch, highWatermark, leading }: Replica) =>
    `${log.join('')}.${epoch}.${highWatermark}${leading === undefined ? '' : `L${leading.startOffset}r${leading.revision}p${leading.proposed.join('')}d${leading.durable.join('')}s${short(leading.seen)}`}`
  const flying = onItsWay.map((one) => `${one.revision}${short(one.changed)}`).join(',')
  return [
    short(partition),
    revision,
    ...replicas.map(replica),
    flying,
    acknowledged.join(''),
    elections,
    proposals,
  ].join(' ')
}
