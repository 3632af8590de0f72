/**
 * Topic settings: one row per setting with its default, range and text. Validation, `describe` and the documentation come from the row.
 * Settings travel and are stored as text under Kafka's names; topicSettings() turns them into what storage uses.
 * Neighbours: log-store.ts checks with it, docs/configuration.md is generated from it.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { GiB, KiB, MiB } from '../protocol/limits.ts'

interface SettingRow {
  /** As text, as it would be given. */
  readonly default: string
  /** The range in words, for errors and documentation. */
  readonly range: string
  readonly doc: string
  /** Whether `value` is allowed. */
  accepts(value: string): boolean
}

function integer(defaultValue: number, min: number, max: number, doc: string): SettingRow {
  const accepts = (value: string) => /^-?\d{1,16}$/.test(value) && Number(value) >= min && Number(value) <= max
  return { default: String(defaultValue), range: `an integer from ${min} to ${max}`, doc, accepts }
}

export const recordBatchBytesMax = 64 * MiB

export const topicSettingTable = {
  'segment.bytes': integer(
    256 * MiB,
    1 * MiB,
    2 * GiB,
    'Size at which the active segment is sealed and a new one begun. A larger batch gets a segment of its own.',
  ),
  'segment.ms': integer(
    7 * 24 * 3_600_000,
    100,
    Number.MAX_SAFE_INTEGER,
    'Age at which the active segment is sealed: ms from its first batch, checked when the next batch arrives.',
  ),
  'max.message.bytes': integer(1 * MiB, 1 * KiB, recordBatchBytesMax, 'Largest record batch accepted, as sent.'),
  'partition.by': {
    default: 'key',
    range: 'key or prefix:<separator>',
    doc: 'What chooses the partition of a stream: its whole name, or the part before the first separator. Fixed once the topic is created.',
    accepts: (value) =>
      value === 'key' || (value.startsWith('prefix:') && value.length > 'prefix:'.length && value.length <= 64),
  },
  'retention.ms': integer(
    -1,
    -1,
    Number.MAX_SAFE_INTEGER,
    'Age from which a segment is deleted: ms since the broker appended its last batch, however old the events say they are. -1 = never.',
  ),
  'retention.bytes': integer(
    -1,
    -1,
    Number.MAX_SAFE_INTEGER,
    'Size of a partition above which its oldest segments are deleted, as long as this much is left. -1 = never.',
  ),
  'remote.storage.enable': {
    default: 'true',
    range: 'true or false',
    doc: 'Whether sealed segments are sent to the tier, where the broker has one (--tier).',
    accepts: (value) => value === 'true' || value === 'false',
  },
  'local.retention.ms': integer(
    -2,
    -2,
    Number.MAX_SAFE_INTEGER,
    'Age (of its last append) from which a sealed segment that is in the tier is let go from the local disk; -1 = never, -2 = as retention.ms.',
  ),
  'local.retention.bytes': integer(
    -2,
    -2,
    Number.MAX_SAFE_INTEGER,
    'Bytes of a partition on the local disk above which its oldest segments that are in the tier are let go there; -1 = no limit, -2 = as retention.bytes.',
  ),
  'min.insync.replicas': {
    default: 'majority',
    range: 'majority, or an integer from 1 to 100',
    doc: 'In a cluster: replicas that must have a batch on their disks before it is acknowledged (acks=all); never more than the topic has.',
    accepts: (value) => value === 'majority' || /^([1-9]\d?|100)$/.test(value),
  },
  'cleanup.policy': {
    default: 'delete',
    range: 'delete, compact, or delete,compact',
    doc: 'What happens to old segments. delete: they go as the retention settings say. compact: of each stream the newest event stays, older ones go.',
    accepts: (value) => ['delete', 'compact', 'delete,compact', 'compact,delete'].includes(value),
  },
  'min.cleanable.dirty.ratio': {
    default: '0.5',
    range: 'a number from 0 to 1',
    doc: 'For compact: share of the sealed segments, by bytes, that must be new since the last compaction before the next one.',
    accepts: (value) => /^(0|1|0?\.\d{1,6}|1\.0{1,6})$/.test(value),
  },
  'delete.retention.ms': integer(
    24 * 3_600_000,
    0,
    Number.MAX_SAFE_INTEGER,
    'For compact: how long a record without a value, which says that its stream is to go, stays itself: ms since it was appended.',
  ),
} as const satisfies Record<string, SettingRow>

export type TopicSettingName = keyof typeof topicSettingTable
/** Only what was set; everything else has its default. */
export type TopicSettingTexts = Readonly<Record<string, string>>

export interface TopicSettings {
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly batchBytesMax: number
  readonly partitionBy: string
  /** Sealed segments go to the tier, if there is one. */
  readonly isTiered: boolean
  /** Of what the tier has; Infinity = it stays on the local disk. */
  readonly localRetentionMs: number
  readonly localRetentionBytes: number
  /** -1 = no limit. */
  readonly retentionMs: number
  readonly retentionBytes: number
  readonly cleanup: { readonly deletes: boolean; readonly compacts: boolean }
  readonly dirtyRatioMin: number
  readonly deleteRetentionMs: number
}

const rows: Readonly<Record<string, SettingRow>> = topicSettingTable

/** Throws unknownSetting or invalidSetting naming the setting, the value and the range. */
export function checkTopicSettings(texts: TopicSettingTexts): void {
  for (const [name, value] of Object.entries(texts)) {
    if (!Object.hasOwn(rows, name)) {
      const known = Object.keys(rows).join(', ')
      throw new PlayheadError(
        'unknownSetting',
        `topic setting: found ${JSON.stringify(name)}, wanted one of ${known}`,
        { setting: name },
      )
    }
    const row = rows[name]
    if (row !== undefined && !row.accepts(value)) {
      throw new PlayheadError('invalidSetting', `${name}: found ${JSON.stringify(value)}, wanted ${row.range}`, {
        setting: name,
        value,
      })
    }
  }
}

/** Whether a topic that exists may get this value; null = the default. Throws unknownSetting or invalidSetting. */
export function checkSettingChange(name: string, value: string | null): void {
  checkTopicSettings({ [name]: value ?? rows[name]?.default ?? '' })
  if (name !== 'partition.by') return
  const message = `${name}: found a change, wanted it to stay as it was when the topic was created: streams would be looked for elsewhere`
  throw new PlayheadError('invalidSetting', message, { setting: name })
}

/** The values in use. `texts` were checked. */
export function topicSettings(texts: TopicSettingTexts): TopicSettings {
  const text = (name: TopicSettingName) => texts[name] ?? topicSettingTable[name].default
  const limit = (name: TopicSettingName, otherwise: TopicSettingName) => {
    const value = Number(text(name)) === -2 ? Number(text(otherwise)) : Number(text(name))
    return value === -1 ? Infinity : value
  }
  return {
    segmentBytes: Number(text('segment.bytes')),
    segmentMs: Number(text('segment.ms')),
    batchBytesMax: Number(text('max.message.bytes')),
    partitionBy: text('partition.by'),
    isTiered: text('remote.storage.enable') === 'true',
    localRetentionMs: limit('local.retention.ms', 'retention.ms'),
    localRetentionBytes: limit('local.retention.bytes', 'retention.bytes'),
    retentionMs: Number(text('retention.ms')),
    retentionBytes: Number(text('retention.bytes')),
    cleanup: {
      deletes: text('cleanup.policy').includes('delete'),
      compacts: text('cleanup.policy').includes('compact'),
    },
    dirtyRatioMin: Number(text('min.cleanable.dirty.ratio')),
    deleteRetentionMs: Number(text('delete.retention.ms')),
  }
}

export interface DescribedSetting {
  readonly name: string
  readonly value: string
  readonly source: 'default' | 'topic'
}

/** Every setting of the table with the value in use, in the order of the table. */
export function describeTopicSettings(texts: TopicSettingTexts): DescribedSetting[] {
  return Object.entries(rows).map(([name, row]) => {
    const value = Object.hasOwn(texts, name) ? texts[name] : undefined
    return { name, value: value ?? row.default, source: value === undefined ? 'default' : 'topic' }
  })
}

/** The settings behind the changes; null sets one back to its default. */
export function changedSettings(
  settings: TopicSettingTexts,
  changes: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const changed: Record<string, string> = { ...settings }
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete changed[name]
    else changed[name] = value
  }
  return changed
}
