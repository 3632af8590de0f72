/**
 * TierTopics: what topics are, in the tier: an object each, so that the tier alone can restore them; and topics that were deleted, which go from the
 * tier once the grace is over. What is to go is written down on the local disk before the topic's own directory goes.
 * Neighbours: Tier calls `work`; restore reads what is written.
 */
import type { Clock } from '../../platform/clock.ts'
import type { FileSystem } from '../../platform/file-system.ts'
import { decodeFacts, encodeFacts, readSmallFile, writeSmallFile } from '../small-file.ts'
import type { JsonObject } from '../small-file.ts'
import type { TopicFacts } from '../topic.ts'
import { getFacts } from './fact-object.ts'
import type { ObjectStore } from './object-store.ts'
import { tierFormatVersion, tierKeys } from './tier-manifest.ts'

export interface TierTopicsOptions {
  readonly store: ObjectStore
  readonly fileSystem: FileSystem
  readonly clock: Clock
  /** Of local facts about the tier. */
  readonly directory: string
  readonly graceMs: number
}

export class TierTopics {
  readonly #options: TierTopicsOptions
  /** As they were sent, by id. */
  readonly #sent = new Map<string, string>()

  constructor(options: TierTopicsOptions) {
    this.#options = options
  }

  /** The topic is about to go from the local disk: remembered across restarts. */
  async removed(topicId: string): Promise<void> {
    const { fileSystem, directory, clock } = this.#options
    await fileSystem.makeDirectory(directory)
    if (await fileSystem.exists(this.#markOf(topicId))) return
    await writeSmallFile(fileSystem, this.#markOf(topicId), { topicId, deletedMs: clock.now(), isTold: false })
  }

  /**
   * Sends what has changed, and removes what was deleted long enough ago. `isGone`: whether a topic that has left the local disk is there no more; it may have left because it
   * could not be opened, and be back by now. Throws tierUnavailable, tierRefused.
   */
  async work(topics: readonly TopicFacts[], isGone: (topicId: string) => boolean): Promise<void> {
    // Who has them now may send something else.
    for (const id of this.#sent.keys()) if (!topics.some((topic) => topic.id === id)) this.#sent.delete(id)
    for (const facts of topics) {
      const text = JSON.stringify(facts)
      if (this.#sent.get(facts.id) === text) continue
      await this.#options.store.put(tierKeys.topic(facts.id), encodeFacts({ format: tierFormatVersion, ...facts }))
      this.#sent.set(facts.id, text)
    }
    for (const mark of await this.#marks()) {
      if (isGone(String(mark.topicId))) await this.#remove(mark)
      else await this.#options.fileSystem.remove(this.#markOf(String(mark.topicId)))
    }
  }

  async #remove(mark: JsonObject): Promise<void> {
    const { store, fileSystem, clock, directory, graceMs } = this.#options
    const topicId = String(mark.topicId)
    const deletedMs = Number(mark.deletedMs)
    const key = tierKeys.topic(topicId)
    if (mark.isTold !== true) {
      const facts = (await getFacts(store, clock, key, decodeFacts)) ?? { id: topicId }
      await store.put(key, encodeFacts({ ...facts, deletedMs }))
      await writeSmallFile(fileSystem, this.#markOf(topicId), { topicId, deletedMs, isTold: true })
    }
    if (clock.now() - deletedMs <= graceMs) return
    for await (const object of store.list(tierKeys.topicLogs(topicId))) await store.remove(object.key)
    await store.remove(key)
    for (const name of await fileSystem.list(directory))
      if (name.startsWith(`log-${topicId}-`)) await fileSystem.remove(`${directory}/${name}`)
    await fileSystem.remove(this.#markOf(topicId))
  }

  async #marks(): Promise<JsonObject[]> {
    const { fileSystem, directory } = this.#options
    const marks: JsonObject[] = []
    for (const name of await fileSystem.list(directory)) {
      if (!name.startsWith('deleted-') || !name.endsWith('.json')) continue
      const mark = await readSmallFile(fileSystem, `${directory}/${name}`)
      if (mark !== undefined) marks.push(mark)
    }
    return marks
  }

  #markOf(topicId: string): string {
    return `${this.#options.directory}/deleted-${topicId}.json`
  }
}

/** A topic as the tier has it. */
export interface TierTopic extends TopicFacts {
  /** Undefined while it is not deleted. */
  readonly deletedMs: number | undefined
}

/** Topics of the tier in order of their keys, deleted ones too. Throws damagedData, tierUnavailable, tierRefused. */
export async function listTierTopics(store: ObjectStore, clock: Clock): Promise<TierTopic[]> {
  const topics: TierTopic[] = []
  for await (const { key } of store.list(tierKeys.topics)) {
    const found = await getFacts(store, clock, key, decodeFacts)
    if (found === undefined) continue
    const { format: _, deletedMs, ...facts } = found
    topics.push({
      ...(facts as unknown as TopicFacts),
      deletedMs: typeof deletedMs === 'number' ? deletedMs : undefined,
    })
  }
  return topics
}
