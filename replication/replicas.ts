/**
 * Replicas: brings what this broker does in line with what the cluster has agreed on: which topics there are, and of each partition whether this broker
 * leads it, follows whom, or has nothing to do with it. Looks at the image after each change and at everything now and then; what it finds done it leaves.
 * Invariants: one change of role of a partition at a time, the newest wins, and no partition waits for that of another; nothing is fetched for a partition
 * while its role changes.
 * Neighbours: ClusterNode owns it; ClusterImage says what is wanted; Partition, ReplicaFetcher and IsrKeeper do it.
 */
import type { Clock, Timer } from '../platform/clock.ts'
import { isPlayheadError } from '../protocol/errors.ts'
import type { Log } from '../storage/log.ts'
import type { Topic } from '../storage/topic.ts'
import type { ClusterImage } from './cluster-image.ts'
import { CopyThrottle } from './copy-throttle.ts'
import type { SeenTopic } from './cluster-state.ts'
import type { IsrKeeper } from './isr-keeper.ts'
import type { BrokerEpoch, SeenPartition } from './isr-transaction.ts'
import type { LeaderLinks } from './leader-links.ts'
import { advanceLogStart } from './log-start.ts'
import type { ChangeFoundation } from './partition-change.ts'
import type { Partition } from './partition.ts'
import type { Partitions } from './partitions.ts'
import { ReplicaFetcher } from './replica-fetcher.ts'

export interface ReplicasOptions {
  readonly image: ClusterImage
  readonly partitions: Partitions
  readonly keeper: IsrKeeper
  readonly links: LeaderLinks
  readonly clock: Clock
  readonly broker: number
  readonly foundation: ChangeFoundation
  /** Of this broker's registration; undefined while it has none. */
  readonly brokerEpoch: () => number | undefined
  readonly lagMsMax: number
  readonly fetchBytesMax: number
  readonly fetchWaitMsMax: number
  readonly report: (level: 'info' | 'warn' | 'error', message: string) => void
  /** What is no expected failure: the broker must end. */
  readonly onFatal: (error: Error) => void
}

/** What this broker is to a partition, as it was told last. */
interface Place {
  readonly partition: Partition
  fetcher: ReplicaFetcher | undefined
  /** Under which registration it fetches. */
  fetchesAs: number | undefined
  /** The change of role under way; never rejects. */
  changing: Promise<void> | undefined
  /** Looked at while it changed: what is wanted may be something else by now. */
  isPassedBy: boolean
  /** The failure that was reported last, so that one that lasts is said once. */
  reported: string
}

/** Everything is looked at this often, whatever was heard. */
const lookMs = 200
const retryMs = 100

export class Replicas {
  readonly #options: ReplicasOptions
  readonly #places = new Map<Partition, Place>()
  readonly #throttle: CopyThrottle
  /** Whose start could not be moved, as was reported. */
  readonly #startsReported = new WeakSet<Log>()
  readonly #agreeing = new Set<Log>()
  readonly #unlisten: () => void
  #timer: Timer | undefined
  #working: Promise<void> | undefined
  #isUnlooked = false
  #stopped = false

  constructor(options: ReplicasOptions) {
    this.#options = options
    this.#throttle = new CopyThrottle(options.clock)
    this.#unlisten = options.image.onChange(() => this.look())
    this.look()
  }

  /** Looks at everything, soon. */
  look(): void {
    this.#isUnlooked = true
    this.#working ??= this.#work().finally(() => (this.#working = undefined))
  }

  /** Resolves once everything that the image says now has been brought about, or tried. */
  async settled(): Promise<void> {
    this.look()
    while (this.#working !== undefined) {
      await this.#working
      await this.#changed()
    }
  }

  /** Resolves when no role changes any more. */
  async #changed(): Promise<void> {
    for (const { changing } of this.#places.values()) await changing
  }

  /** Before this broker goes: what others can take over takes no more appends; resolves once they have all of it, or it leads no more. */
  async prepareToLeave(): Promise<void> {
    const led = [...this.#places.values()].filter(
      ({ partition: { leading } }) => (leading?.seen.state.isr.length ?? 0) > 1,
    )
    await Promise.allSettled(led.map(({ partition }) => partition.prepareToLeave()))
  }

  /** Stops following. What this broker leads it leads until it ends. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#unlisten()
    this.#timer?.cancel()
    await this.#working
    await this.#changed()
    await Promise.all([...this.#places.values()].map((place) => stopFetching(place)))
  }

  async #work(): Promise<void> {
    this.#timer?.cancel()
    while (this.#isUnlooked && !this.#stopped) {
      this.#isUnlooked = false
      try {
        await this.#bringAbout()
      } catch (error) {
        if (!isPlayheadError(error)) return this.#bug(error)
        this.#options.report('error', `cluster: what was agreed on could not be brought about: ${error.message}`)
      }
    }
    if (!this.#stopped) this.#timer = this.#options.clock.after(lookMs, () => this.look())
  }

  async #bringAbout(): Promise<void> {
    const { image, partitions } = this.#options
    this.#throttle.set(image.state.throttleBytesPerSecond)
    await this.#bringTopics()
    for (const partition of partitions.all()) {
      const seen = image.state.partition(partition)
      if (seen !== undefined) this.#bringRole(partition, seen)
    }
  }

  #bug(error: unknown): void {
    this.#options.onFatal(error instanceof Error ? error : new Error(String(error)))
  }

  /** Every broker has every topic, though not the records of every partition: any of them can say what there is. */
  async #bringTopics(): Promise<void> {
    const { image, partitions } = this.#options
    const { topics } = image.state
    for (const topic of partitions.topics()) {
      const wanted = topics.get(topic.id)
      if (wanted === undefined || wanted.record.state === 'deleting') await this.#remove(topic)
    }
    for (const wanted of topics.values()) {
      if (wanted.record.state === 'deleting') continue
      const topic = partitions.topics().find(({ id }) => id === wanted.topicId)
      if (topic === undefined) await this.#adopt(wanted)
      else if (!haveSame(topic.facts.settings, wanted.record.settings)) {
        await partitions.alterHere(topic.name, wanted.record.settings)
      }
    }
  }

  async #adopt({ topicId, record }: SeenTopic): Promise<void> {
    const { name, partitions, replicationFactor, internal, settings } = record
    const facts = { id: topicId, name, partitions, replicationFactor, internal, settings }
    await this.#options.partitions.adopt(facts)
  }

  async #remove({ name }: Topic): Promise<void> {
    const { partitions, report } = this.#options
    for (const partition of partitions.topic(name).partitions) {
      const place = this.#places.get(partition)
      await place?.changing
      if (place !== undefined) await stopFetching(place)
      this.#places.delete(partition)
    }
    report('info', `${name}: removed, it was deleted in the cluster`)
    await partitions.deleteHere(name)
  }

  #bringRole(partition: Partition, seen: SeenPartition): void {
    let place = this.#places.get(partition)
    if (place === undefined) {
      place = {
        partition,
        fetcher: undefined,
        fetchesAs: undefined,
        changing: undefined,
        isPassedBy: false,
        reported: '',
      }
      this.#places.set(partition, place)
    }
    place.isPassedBy = place.changing !== undefined
    place.changing ??= this.#changeAlone(place, seen)
  }

  async #changeAlone(place: Place, seen: SeenPartition): Promise<void> {
    try {
      await this.#changeRole(place, seen)
      place.reported = ''
    } catch (error) {
      if (!isPlayheadError(error)) return this.#bug(error)
      // The metadata has moved on, or will: the next look tells.
      const { topic, partition } = place.partition
      if (place.reported !== error.message) this.#options.report('warn', `${topic}/${partition}: ${error.message}`)
      place.reported = error.message
    } finally {
      place.changing = undefined
      if (place.isPassedBy && !this.#stopped) this.look()
    }
  }

  async #changeRole(place: Place, seen: SeenPartition): Promise<void> {
    const { broker } = this.#options
    const { leader, leaderEpoch, replicas } = seen.state
    const { partition } = place
    if (replicas.includes(broker)) this.#adoptStart(partition, seen.state.startOffset)
    if (leaderEpoch < partition.leaderEpoch && partition.log.replica.epochs.latest > leaderEpoch) return // older than what is known here
    if (leader === broker) return await this.#lead(place, seen)
    if (!replicas.includes(broker)) {
      await stopFetching(place)
      return await partition.knowLeader(leader, leaderEpoch)
    }
    await this.#follow(place, seen)
  }

  async #lead(place: Place, seen: SeenPartition): Promise<void> {
    const { broker, clock, lagMsMax, keeper, report } = this.#options
    const { partition } = place
    const { leading } = partition
    if (leading?.leaderEpoch === seen.state.leaderEpoch) {
      leading.observe(seen)
      this.#agreeOnOwnStart(partition, seen.state.startOffset)
      keeper
        .look(partition)
        .catch((error: unknown) => report('error', `${partition.topic}/${partition.partition}: ${String(error)}`))
      return
    }
    await stopFetching(place)
    await partition.log.replica.adoptStart(seen.state.startOffset)
    await partition.lead({
      self: broker,
      seen,
      lagMsMax,
      clock,
      agreeOnStart: (offset) => this.#agreeOnStart(partition, offset),
    })
    const { state } = seen
    report(
      'info',
      `${partition.topic}/${partition.partition}: leads in epoch ${state.leaderEpoch}; in sync: ${state.isr.join(', ')}`,
    )
  }

  /** Beside the role, which does not wait for it: a log that is being replaced takes no start, and the next look comes to it. */
  #adoptStart({ topic, partition, log, highWatermark }: Partition, startOffset: number): void {
    const offset = Math.min(startOffset, highWatermark)
    if (offset <= log.logStartOffset) return
    log.replica.adoptStart(offset).then(
      () => this.#startsReported.delete(log),
      (error: unknown) => {
        if (!isPlayheadError(error)) return this.#bug(error)
        if (this.#startsReported.has(log)) return
        this.#startsReported.add(log)
        this.#options.report('warn', `${topic}/${partition}: its start is not moved yet: ${error.message}`)
      },
    )
  }

  /** What this leader has given up before the others had agreed on it, no next one shall show. */
  #agreeOnOwnStart(partition: Partition, agreedOffset: number): void {
    const { log } = partition
    if (log.logStartOffset <= agreedOffset || this.#agreeing.has(log)) return
    this.#agreeing.add(log)
    this.#agreeOnStart(partition, log.logStartOffset)
      .catch((error: unknown) => {
        if (!isPlayheadError(error)) this.#bug(error) // the next look tries again
      })
      .finally(() => this.#agreeing.delete(log))
  }

  async #agreeOnStart(partition: Partition, offset: number): Promise<number> {
    const { foundation, broker, brokerEpoch } = this.#options
    return await advanceLogStart(foundation, partition, { broker, brokerEpoch: brokerEpoch() ?? 0 }, offset)
  }

  async #follow(place: Place, { state: { leader, leaderEpoch, uncleanEpoch } }: SeenPartition): Promise<void> {
    const { partition } = place
    const brokerEpoch = this.#options.brokerEpoch()
    const { following } = partition
    const isKnown = following?.leader === leader && following.leaderEpoch === leaderEpoch
    const isFetching = place.fetcher !== undefined && place.fetchesAs === brokerEpoch
    if (isKnown && (isFetching || leader === null || brokerEpoch === undefined)) return
    await stopFetching(place)
    if (!isKnown || partition.leading !== undefined) {
      if (!(await partition.follow(leader, leaderEpoch, uncleanEpoch))) return
    }
    if (leader === null || brokerEpoch === undefined) return
    place.fetchesAs = brokerEpoch
    place.fetcher = this.#fetcher(partition, leader, leaderEpoch, { broker: this.#options.broker, brokerEpoch })
  }

  #fetcher(partition: Partition, leader: number, leaderEpoch: number, self: BrokerEpoch): ReplicaFetcher {
    const { image, links, clock, fetchBytesMax, fetchWaitMsMax, partitions, report } = this.#options
    return new ReplicaFetcher({
      partition,
      leaderEpoch,
      self,
      leader: links.to(leader),
      clock,
      fetchBytesMax,
      waitMsMax: fetchWaitMsMax,
      throttle: this.#throttle,
      isAdded: () => isAdded(image.state.partition(partition), self.broker),
      retryMs,
      truncate: (cut, offset) => partitions.truncate(cut, offset),
      incoming: () => partitions.incoming(partition),
      takeOver: (replaced) => partitions.takeOver(replaced),
      report,
      onBug: (error) => this.#bug(error),
    })
  }
}

/** On its way into the in-sync set; one that was there and fell out is not slowed. */
function isAdded(seen: SeenPartition | undefined, broker: number): boolean {
  return seen?.state.adding.includes(broker) === true && !seen.state.isr.includes(broker)
}

async function stopFetching(place: Place): Promise<void> {
  const { fetcher } = place
  place.fetcher = undefined
  place.fetchesAs = undefined
  await fetcher?.stop()
}

function haveSame(left: Readonly<Record<string, string>>, right: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(left)
  return keys.length === Object.keys(right).length && keys.every((key) => left[key] === right[key])
}
