/**
 * ReplicaSet: what a leader knows of its partition's replicas in one leader epoch: who is in sync, how far each has got, and so what is committed.
 * Invariants: an offset is committed only once it is durable on every member of the in-sync set that anybody could see (`maximal`: as the store
 * has it, and as it was asked to have it while the answer is out), the leader included, and only while the set in the store has enough; the
 * high watermark never goes back, and does not move below the log's end at the beginning of the epoch.
 * Neighbours: Partition tells it what followers say and what the store answered; isr-change.ts says what the next state is.
 */
import assert from 'node:assert/strict'
import { OffsetLine } from '../storage/offset-line.ts'
import type { CommitPoint } from '../storage/leadership.ts'
import type { BrokerEpoch, SeenPartition } from './isr-transaction.ts'
import type { PartitionState } from './isr-change.ts'

export interface ReplicaSetOptions {
  /** The leader's broker id. */
  readonly self: number
  /** As the store has it; its leader is `self`. */
  readonly seen: SeenPartition
  /** The end of the log at the beginning of the epoch: below it there may be what an earlier leader has told nobody of. */
  readonly startOffset: number
  /** Known to be committed from before. */
  readonly highWatermark: number
  /** Of the leader's own disk, as of now. */
  readonly durableOffset: () => number
  readonly nowMs: () => number
  /** A follower that has not had all of the log for so long does not keep up. */
  readonly lagMsMax: number
  readonly onHighWatermark: () => void
  /** Followers have confirmed this round, all of them. */
  readonly onConfirmed: (round: number) => void
}

/** What a follower has said in this epoch. */
interface Follower {
  brokerEpoch: number
  durableOffset: number
  /** When it last had all that the leader had. */
  caughtUpMs: number
  /** Of a word of it: when it came, and what the leader had then. The next one counts once it has that. */
  sampledMs: number
  leaderHad: number
  /** The last round of confirmation that it has answered. */
  confirmed: number
  /** When it last said anything. */
  heardMs: number
}

/** Who says nothing for so long is waited for no more: it takes over files when it is back. */
const silenceMsMax = 60_000

export class ReplicaSet implements CommitPoint {
  readonly leaderEpoch: number
  readonly #options: ReplicaSetOptions
  readonly #followers = new Map<number, Follower>()
  readonly #waiting = new OffsetLine()
  readonly #sinceMs: number
  #seen: SeenPartition
  /** Asked of the store, which has not answered yet. */
  #proposed: PartitionState | undefined
  #highWatermark: number
  #closed: Error | undefined
  /** Of confirmation: what followers are asked to answer now. */
  #round = 0

  constructor(options: ReplicaSetOptions) {
    const { seen, self, highWatermark, nowMs } = options
    assert(seen.state.leader === self)
    this.#options = options
    this.#seen = seen
    this.leaderEpoch = seen.state.leaderEpoch
    this.#highWatermark = highWatermark
    this.#sinceMs = nowMs()
  }

  /** As the store has it. */
  get seen(): SeenPartition {
    return this.#seen
  }

  /** Whether a change is on its way to the store. */
  get isChanging(): boolean {
    return this.#proposed !== undefined
  }

  get highWatermark(): number {
    return this.#highWatermark
  }

  /** As CommitPoint: the high watermark. */
  get offset(): number {
    return this.#highWatermark
  }

  reached(offset: number): Promise<void> {
    if (offset <= this.#highWatermark) return Promise.resolve()
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    return this.#waiting.wait(offset)
  }

  /** Whether anything can be committed as things stand in the store. */
  get hasEnough(): boolean {
    const { isr, isrMin } = this.#seen.state
    return isr.length >= isrMin
  }

  /** Below it is what earlier leaders may have told of. */
  get startOffset(): number {
    return this.#options.startOffset
  }

  /** Whether everything from before the epoch is committed: only then does the high watermark say all. */
  get isSettled(): boolean {
    return this.#highWatermark >= this.#options.startOffset
  }

  /** A follower has all below `durableOffset` on its disk. Nothing happens for one that is no replica, or of a registration before. */
  heard({ broker, brokerEpoch }: BrokerEpoch, durableOffset: number, confirmed = 0): void {
    if (this.#closed !== undefined || !this.#seen.state.replicas.includes(broker) || broker === this.#options.self)
      return
    const nowMs = this.#options.nowMs()
    const leaderHas = this.#options.durableOffset()
    const known = this.#followers.get(broker)
    if (known !== undefined && known.brokerEpoch > brokerEpoch) return
    const sample = known?.brokerEpoch === brokerEpoch ? known : undefined
    const hasAll = durableOffset >= leaderHas
    const hasSampled = hasAll || sample === undefined || durableOffset >= sample.leaderHad
    // Words come closer together than the disk writes: each would ask for more than the one before it, and none would ever be reached.
    const caughtUpMs = hasAll ? nowMs : sample && hasSampled ? sample.sampledMs : (known?.caughtUpMs ?? -Infinity)
    this.#followers.set(broker, {
      brokerEpoch,
      durableOffset,
      caughtUpMs,
      sampledMs: hasSampled ? nowMs : sample.sampledMs,
      leaderHad: hasSampled ? leaderHas : sample.leaderHad,
      confirmed: Math.max(confirmed, known?.confirmed ?? 0),
      heardMs: nowMs,
    })
    this.advance()
    this.#tellConfirmed()
  }

  #tellConfirmed(): void {
    if (this.#round > 0) this.#options.onConfirmed(this.confirmed)
  }

  get round(): number {
    return this.#round
  }

  /** A new round: who answers it followed this leader after now. */
  beginRound(): number {
    return ++this.#round
  }

  /** The last round that all have answered who could lead instead. */
  get confirmed(): number {
    const { self } = this.#options
    let least = this.#round
    for (const broker of [...this.maximal, ...this.#seen.state.elr]) {
      if (broker !== self) least = Math.min(least, this.#followers.get(broker)?.confirmed ?? 0)
    }
    return least
  }

  /** To be called when more is durable here, too. */
  advance(): void {
    const { self, durableOffset, startOffset, onHighWatermark } = this.#options
    if (this.#closed !== undefined || !this.hasEnough) return
    let candidate = durableOffset()
    for (const broker of this.maximal) {
      if (broker !== self) candidate = Math.min(candidate, this.#followers.get(broker)?.durableOffset ?? -1)
    }
    if (candidate < startOffset || candidate <= this.#highWatermark) return
    this.#highWatermark = candidate
    this.#waiting.release(candidate)
    onHighWatermark()
  }

  /** Whoever anybody could hold to be in sync. */
  get maximal(): Set<number> {
    return new Set([...this.#seen.state.isr, ...(this.#proposed?.isr ?? [])])
  }

  /** Where all replicas have got to that have said anything lately: what is rewritten below it none of them has to read any more. */
  get reachedByAll(): number {
    const since = this.#options.nowMs() - silenceMsMax
    let least = this.#options.durableOffset()
    for (const { durableOffset, heardMs } of this.#followers.values())
      if (heardMs >= since) least = Math.min(least, durableOffset)
    return least
  }

  /** What the other replicas have on their disks, as each said last; those that have said nothing in this epoch are missing. */
  get followers(): { readonly broker: number; readonly durableOffset: number }[] {
    const { replicas } = this.#seen.state
    return Array.from(this.#followers, ([broker, { durableOffset }]) => ({ broker, durableOffset })).filter(
      ({ broker }) => replicas.includes(broker),
    )
  }

  /** Members of the in-sync set that do not keep up. */
  get lagging(): number[] {
    return this.#seen.state.isr.filter((broker) => broker !== this.#options.self && !this.#keepsUp(broker))
  }

  #keepsUp(broker: number): boolean {
    const { nowMs, lagMsMax } = this.#options
    return Math.max(this.#sinceMs, this.#followers.get(broker)?.caughtUpMs ?? -Infinity) >= nowMs() - lagMsMax
  }

  /**
   * Replicas out of sync that have all that is committed, all of it fetched or confirmed in this epoch. Not those that would be put out again at once: who
   * is silent has all that there is in a quiet partition, and would go in and out as fast as the store can write.
   */
  get caughtUp(): BrokerEpoch[] {
    const { replicas, isr } = this.#seen.state
    const least = Math.max(this.#highWatermark, this.#options.startOffset)
    const found: BrokerEpoch[] = []
    for (const broker of replicas) {
      const follower = this.#followers.get(broker)
      if (isr.includes(broker) || follower === undefined || follower.durableOffset < least) continue
      if (this.#keepsUp(broker)) found.push({ broker, brokerEpoch: follower.brokerEpoch })
    }
    return found
  }

  /** The change counts from now on, whether or not it comes to be; to be called before it is sent. */
  propose(proposed: PartitionState): void {
    assert(this.#proposed === undefined)
    this.#proposed = proposed
  }

  /** The store has it so by now; what is on its way to it goes on counting. */
  observe(seen: SeenPartition): void {
    assert(seen.state.leaderEpoch === this.leaderEpoch)
    if (seen.modRevision <= this.#seen.modRevision) return
    const { replicas, adding } = seen.state
    const before = this.#seen.state.adding
    // Who went, or is added anew, says again what it has before it counts: what it said before may be gone, while the epoch is the same.
    for (const broker of this.#followers.keys()) {
      const isNew = adding.includes(broker) && !before.includes(broker)
      if (isNew || !replicas.includes(broker)) this.#followers.delete(broker)
    }
    this.#seen = seen
    this.advance()
    this.#tellConfirmed() // who is in sync no more need not answer
  }

  /** What is asked of the store has come to be, or never will: this is what it has. The leader and its epoch are the same. */
  settle(seen: SeenPartition): void {
    this.#proposed = undefined
    this.observe(seen)
    this.advance()
    this.#tellConfirmed()
  }

  /** Leads no more: what is not committed by now, this broker will never know of. */
  close(error: Error): void {
    this.#closed = error
    this.#waiting.fail(error)
  }
}
