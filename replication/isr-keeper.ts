/**
 * IsrKeeper: keeps the in-sync sets of the partitions that this broker leads as they should be: out with who does not keep up, in with who has
 * caught up. Invariant: a partition has one change on its way at most, and counts with it until it is known what became of it.
 * Neighbours: ReplicaSet says who, isr-transaction.ts how; whoever owns it calls `look` now and then, and is told when another one leads.
 */
import { sleep } from '../platform/clock.ts'
import type { Clock } from '../platform/clock.ts'
import { formatUuid, uuidV7 } from '../protocol/uuid.ts'
import type { Random } from '../platform/random.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import { next } from './isr-change.ts'
import type { PartitionEvent } from './isr-change.ts'
import { isrTransaction, outcomeOf } from './isr-transaction.ts'
import type { BrokerEpoch, IsrChange, SeenPartition } from './isr-transaction.ts'
import { metadataKeys } from './metadata-keys.ts'
import { readPartition } from './metadata-records.ts'
import type { MetadataStore, TransactionResult } from './metadata-store.ts'
import type { Partition } from './partition.ts'
import type { ReplicaSet } from './replica-set.ts'

export interface IsrKeeperOptions {
  readonly store: MetadataStore
  /** This broker, as it is registered. */
  readonly self: () => BrokerEpoch
  readonly clock: Clock
  readonly random: Random
  /**
   * Whether a broker is there under that registration, as far as is known. One that is gone had everything, perhaps, and has it in a quiet partition for ever:
   * letting it in is refused, and whoever was to be let in with it.
   */
  readonly isThere?: (broker: BrokerEpoch) => boolean
  /** Between two looks at what became of a change. */
  readonly retryMs: number
  readonly report: (level: 'info' | 'warn', message: string) => void
  /** The store has another leader, or another epoch: whatever was to be changed never will be. */
  readonly onOvertaken: (partition: Partition, now: SeenPartition | undefined) => void
}

export class IsrKeeper {
  readonly stats = { shrinks: 0, expands: 0, refusals: 0, unknown: 0 }
  readonly #options: IsrKeeperOptions
  readonly #underWay = new Set<Promise<void>>()
  readonly #stopping = new AbortController()

  constructor(options: IsrKeeperOptions) {
    this.#options = options
  }

  /** Changes the in-sync set of a partition that this broker leads if it should be another one. Resolves when that is known to be done, or not. */
  async look(partition: Partition): Promise<void> {
    const { leading } = partition
    if (leading === undefined || leading.isChanging || this.#stopping.signal.aborted) return
    const change = this.#changeOf(partition, leading)
    if (change === undefined) return
    leading.propose(change.proposed)
    const changing = this.#change(partition, leading, change)
    this.#underWay.add(changing)
    try {
      await changing
    } finally {
      this.#underWay.delete(changing)
    }
  }

  /** Nothing is sent any more. What is on its way may still happen. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopped'))
    await Promise.allSettled(this.#underWay)
  }

  #changeOf({ topicId, partition }: Partition, leading: ReplicaSet): IsrChange | undefined {
    const { seen, lagging } = leading
    const { isThere = () => true } = this.#options
    const caughtUp = leading.caughtUp.filter(isThere)
    const self = this.#options.self()
    const leader = self.broker
    const event: PartitionEvent | undefined =
      lagging.length > 0
        ? { kind: 'shrink', leader, remove: lagging }
        : caughtUp.length > 0
          ? { kind: 'expand', leader, add: caughtUp.map(({ broker }) => broker) }
          : undefined
    if (event === undefined) return undefined
    const { random, clock } = this.#options
    const nonce = formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
    const proposed = next(seen.state, event, nonce)
    if (proposed === seen.state) return undefined
    return { topicId, partition, seen, proposed, leader: self, added: event.kind === 'expand' ? caughtUp : [] }
  }

  /** Sends the change, the same one, until it is known what became of it: of all the sendings one at most can happen. */
  async #change(partition: Partition, leading: ReplicaSet, change: IsrChange): Promise<void> {
    const { clock, retryMs } = this.#options
    const { signal } = this.#stopping
    for (let sent = 0; !signal.aborted && partition.leading === leading; sent++) {
      if (sent > 0) await sleep(clock, retryMs, signal).catch(() => undefined)
      const result = await this.#send(change)
      if (result === 'unavailable') {
        if (sent === 0) return leading.settle(change.seen) // it is certain that nothing was changed
      } else if (result.outcome === 'done') {
        return this.#done(partition, leading, change, { state: change.proposed, modRevision: result.revision })
      } else {
        const now = await this.#read(change)
        const outcome = now === 'unavailable' ? 'pending' : outcomeOf(change, now)
        if (now === 'unavailable') continue
        if (outcome === 'done') return this.#done(partition, leading, change, now!)
        // Refused although nobody has changed the partition: somebody's registration is not what it was. None of the sendings can happen any more.
        if (outcome === 'overtaken' || result.outcome === 'refused') {
          if (now?.state.leaderEpoch === leading.leaderEpoch) return leading.settle(now)
          return this.#options.onOvertaken(partition, now)
        }
      }
    }
  }

  async #send(change: IsrChange): Promise<TransactionResult | 'unavailable'> {
    try {
      const result = await this.#options.store.transact(isrTransaction(change))
      if (result.outcome === 'unknown') this.stats.unknown++
      if (result.outcome === 'refused') this.stats.refusals++
      return result
    } catch (error) {
      if (!isPlayheadError(error)) throw error
      return 'unavailable'
    }
  }

  #done(partition: Partition, leading: ReplicaSet, { seen, proposed }: IsrChange, now: SeenPartition): void {
    const isShrink = proposed.isr.length < seen.state.isr.length
    if (isShrink) this.stats.shrinks++
    else this.stats.expands++
    const text = `in sync are brokers ${proposed.isr.join(', ')}, were ${seen.state.isr.join(', ')}`
    this.#options.report(isShrink ? 'warn' : 'info', `${partition.topic}/${partition.partition}: ${text}`)
    leading.settle(now)
  }

  async #read({ topicId, partition }: IsrChange): Promise<SeenPartition | undefined | 'unavailable'> {
    try {
      const { entry } = await this.#options.store.get(metadataKeys.partition(topicId, partition))
      return entry && { state: readPartition(entry), modRevision: entry.modRevision }
    } catch (error) {
      if (isPlayheadError(error, 'damagedData') || !isPlayheadError(error)) throw error
      return 'unavailable'
    }
  }
}
