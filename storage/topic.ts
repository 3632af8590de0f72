/**
 * Topic: a name, its settings and its logs, kept in one directory named by the topic's id (names never become paths).
 *
 *   topics/<topic id>/topic.json                     what the topic is; the topic exists while this file does
 *   topics/<topic id>/<partition>/                   the segments of one log; made at its first append
 *   topics/<topic id>.deleted/                       on its way out; removed at the next start if not before
 *
 * Neighbours: LogStore makes, opens and deletes topics.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { formatUuid, parseUuid, uuidV7 } from '../protocol/uuid.ts'
import type { Log } from './log.ts'
import { damagedFile, readSmallFile, writeSmallFile } from './small-file.ts'
import type { JsonObject } from './small-file.ts'
import { dataFormatVersion } from './data-directory.ts'
import type { StorageContext } from './storage-context.ts'
import { checkTopicSettings, describeTopicSettings, topicSettings } from './topic-settings.ts'
import type { DescribedSetting, TopicSettings, TopicSettingTexts } from './topic-settings.ts'

export const deletedSuffix = '.deleted'

/** What topic.json holds. */
export interface TopicFacts {
  /** As text, 36 characters. */
  readonly id: string
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly internal: boolean
  readonly settings: TopicSettingTexts
}

export class Topic {
  readonly directory: string
  readonly #logs: readonly Log[]
  #facts: TopicFacts
  #settings: TopicSettings

  constructor(directory: string, facts: TopicFacts, logs: readonly Log[]) {
    this.directory = directory
    this.#facts = facts
    this.#settings = topicSettings(facts.settings)
    this.#logs = logs
  }

  get id(): string {
    return this.#facts.id
  }

  get name(): string {
    return this.#facts.name
  }

  get partitions(): number {
    return this.#facts.partitions
  }

  get replicationFactor(): number {
    return this.#facts.replicationFactor
  }

  get internal(): boolean {
    return this.#facts.internal
  }

  get facts(): TopicFacts {
    return this.#facts
  }

  /** The values in use. */
  get settings(): TopicSettings {
    return this.#settings
  }

  get logs(): readonly Log[] {
    return this.#logs
  }

  describeSettings(): DescribedSetting[] {
    return describeTopicSettings(this.#facts.settings)
  }

  /** Throws unknownPartition. */
  log(partition: number): Log {
    const log = this.#logs[partition]
    if (log !== undefined) return log
    throw new PlayheadError(
      'unknownPartition',
      `${this.name}: found partition ${partition}, wanted one from 0 to ${this.partitions - 1}`,
      {
        partition,
        partitions: this.partitions,
      },
    )
  }

  /** For LogStore, once the new settings are on disk. */
  replaceSettings(settings: TopicSettingTexts): void {
    this.#facts = { ...this.#facts, settings }
    this.#settings = topicSettings(settings)
  }
}

export function newTopicId({ random, clock }: StorageContext): string {
  return formatUuid(uuidV7(random.bytes(10), Math.max(0, clock.now())))
}

export async function writeTopicFile(
  context: Pick<StorageContext, 'fileSystem'>,
  directory: string,
  facts: TopicFacts,
): Promise<void> {
  await writeSmallFile(context.fileSystem, topicFile(directory), { format: dataFormatVersion, ...facts })
}

/** Undefined when the directory has no topic.json. Throws damagedData or unsupportedFormat naming the file. */
export async function readTopicFile(
  fileSystem: StorageContext['fileSystem'],
  directory: string,
): Promise<TopicFacts | undefined> {
  const path = topicFile(directory)
  const value = await readSmallFile(fileSystem, path)
  if (value === undefined) return undefined
  if (typeof value.format === 'number' && value.format > dataFormatVersion) {
    throw new PlayheadError(
      'unsupportedFormat',
      `${path}: found format version ${value.format}, wanted at most ${dataFormatVersion}; use the release that wrote it, or a newer one`,
      { file: path, format: value.format },
    )
  }
  const facts = topicFactsOf(value)
  if (facts === undefined)
    throw damagedFile(path, 'fields that are missing or of another kind', 'those that Playhead wrote')
  if (!directory.endsWith(`/${facts.id}`)) throw damagedFile(path, `topic id ${facts.id}`, 'the name of its directory')
  checkTopicSettings(facts.settings)
  return facts
}

export function topicIdBytes(id: string): Buffer {
  return parseUuid(id)
}

function topicFactsOf(value: JsonObject): TopicFacts | undefined {
  const { id, name, partitions, replicationFactor, internal, settings } = value
  if (typeof id !== 'string' || typeof name !== 'string' || typeof internal !== 'boolean') return undefined
  if (typeof partitions !== 'number' || typeof replicationFactor !== 'number') return undefined
  if (!Number.isInteger(partitions) || partitions < 1 || typeof settings !== 'object' || settings === null)
    return undefined
  const texts: Record<string, string> = {}
  for (const [key, text] of Object.entries(settings)) {
    if (typeof text !== 'string') return undefined
    texts[key] = text
  }
  return { id, name, partitions, replicationFactor, internal, settings: texts }
}

function topicFile(directory: string): string {
  return `${directory}/topic.json`
}
