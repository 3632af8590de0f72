/**
 * Settings of a broker: one declaration each, with default, range, unit and text; checked here, listed in docs/configuration.md (which
 * settings-doc.ts writes from this table). Sources, later ones win: defaults, the JSON file of --config, environment PLAYHEAD_…, flags.
 * Settings of a topic are storage/topic-settings.ts.
 */
import { PlayheadError } from '../protocol/errors.ts'
import { GiB, KiB, MiB } from '../protocol/limits.ts'
import { defaultStorageSettings as storage } from '../storage/storage-settings.ts'
import type { StorageSettings } from '../storage/storage-settings.ts'
import { clusterSettings } from './cluster-settings.ts'
import { loggingSettings } from './logging-settings.ts'
import { nearestName } from './nearest-name.ts'
import { securitySettings } from './security/settings.ts'
import { integer, reloadable, shownValue, text } from './setting.ts'
import type { BrokerSetting, ChoiceSetting, IntegerSetting } from './setting.ts'
import { tierSettings } from './tier-settings.ts'

export const brokerSettings = {
  data: text('playhead-data', 'Data directory; created when it is missing. One broker at a time.'),
  host: text(
    '127.0.0.1',
    'Address to listen on, both ports. 0.0.0.0 = every interface. Other than this machine takes security and TLS, or allowInsecure.',
  ),
  port: integer('port', 7420, [0, 65_535], 'Port of the native protocol; 0 = any free one.'),
  httpPort: integer('port', 7421, [0, 65_535], 'Port of the HTTP interface; 0 = any free one.'),

  ...clusterSettings,

  connectionsMax: integer(
    'count',
    1_000,
    [1, 100_000],
    'Connections to the native port; more are refused (overloaded). As many again to the HTTP port; more are closed.',
  ),
  connectionsPerAddressMax: integer(
    'count',
    500,
    [1, 100_000],
    'Connections from one address, counted for each port; more are refused (native port: overloaded; HTTP: closed).',
  ),
  frameBytesMax: integer(
    'bytes',
    68 * MiB,
    [64 * KiB, 1 * GiB],
    'Largest frame of a request, checked before memory is taken for it.',
  ),
  helloWaitMsMax: reloadable(
    integer('ms', 10_000, [100, 600_000], 'A connection that has not said hello by then is closed.'),
  ),
  inFlightRequestsMax: integer(
    'count',
    1_024,
    [1, 65_536],
    'Unanswered requests of one connection; beyond, it is not read from.',
  ),
  inFlightBytesMax: integer(
    'bytes',
    64 * MiB,
    [64 * KiB, 4 * GiB],
    'Unanswered request bytes of one connection; beyond, it is not read from.',
  ),
  replyBytesMax: integer(
    'bytes',
    32 * MiB,
    [64 * KiB, 4 * GiB],
    'Reply bytes that wait for one connection; beyond, its reads wait until it has taken some.',
  ),
  requestBytesTotalMax: integer(
    'bytes',
    512 * MiB,
    [1 * MiB, 64 * GiB],
    'Request bytes of all connections, arriving or unanswered; beyond, no further request is read.',
  ),
  replyBytesTotalMax: integer(
    'bytes',
    512 * MiB,
    [1 * MiB, 64 * GiB],
    'Reply bytes that wait for all connections; beyond, reads wait.',
  ),
  stallMsMax: integer(
    'ms',
    60_000,
    [100, 3_600_000],
    'While others wait for memory, a connection is closed that takes nothing of its replies, or has not ended a request it began, for this long.',
  ),
  fetchBytesMax: reloadable(
    integer(
      'bytes',
      16 * MiB,
      [64 * KiB, 1 * GiB],
      'Most that one fetch or stream read answers, whatever it asks for; one whole batch always fits.',
    ),
  ),
  fetchWaitMsMax: reloadable(
    integer('ms', 300_000, [0, 3_600_000], 'Longest wait of one fetch for new events, whatever it asks for.'),
  ),
  tokenWaitMsMax: reloadable(
    integer('ms', 10_000, [0, 600_000], 'Longest wait of a read for what its token has seen to be committed.'),
  ),
  waitersPerPartitionMax: integer(
    'count',
    10_000,
    [1, 1_000_000],
    'Requests that wait for new events of one partition; more are refused (overloaded).',
  ),
  httpBodyBytesMax: integer('bytes', 16 * MiB, [1 * KiB, 1 * GiB], 'Largest body of an HTTP request.'),
  httpBytesTotalMax: integer(
    'bytes',
    64 * MiB,
    [1 * MiB, 64 * GiB],
    'Bodies that HTTP requests send, and replies that are made for them, all together; beyond, requests wait. Parsed JSON takes up to 20 times its text.',
  ),
  httpRequestWaitMsMax: integer(
    'ms',
    60_000,
    [100, 3_600_000],
    'An HTTP request that has not arrived whole by then is refused (408), and a connection on which nothing moves for as long is closed.',
  ),
  followersMax: integer(
    'count',
    2_000,
    [0, 100_000],
    'Readers that follow a topic or a stream over HTTP; more are refused (overloaded).',
  ),
  followerBufferBytesMax: integer(
    'bytes',
    256 * KiB,
    [16 * KiB, 64 * MiB],
    'What may wait for one follower; beyond, it is paused until it has taken it.',
  ),
  followerPausedMsMax: integer(
    'ms',
    30_000,
    [100, 3_600_000],
    'A paused follower that has not taken what waits for it by then is dropped, and told why.',
  ),
  followHeartbeatMs: integer(
    'ms',
    15_000,
    [100, 600_000],
    'How often followers to whom nothing was to be said get a comment, so that nobody in between takes the connection for dead.',
  ),

  indexMemoryBytes: integer(
    'bytes',
    storage.indexMemoryBytes,
    [1 * MiB, 64 * GiB],
    'Memory for what of the stream indexes is not in the cache yet, over all partitions.',
  ),
  tailCacheBytes: integer(
    'bytes',
    storage.tailCacheBytes,
    [0, 64 * GiB],
    'Memory for the newest batches, over all partitions: readers at the tail need no disk. A quarter of it while nobody reads.',
  ),
  readAheadBytes: integer(
    'bytes',
    storage.readAheadBytes,
    [0, 64 * GiB],
    'Memory for what consumers who go through a partition will ask for next, over all partitions; 0 = nothing is read ahead.',
  ),
  decompressedBytesMax: integer(
    'bytes',
    storage.decompressedBytesMax,
    [1 * MiB, 1 * GiB],
    'Largest size of a compressed batch once it is decompressed; larger ones are refused (batchTooLarge).',
  ),
  decompressionBytesTotalMax: integer(
    'bytes',
    storage.decompressionBytesTotalMax,
    [1 * MiB, 64 * GiB],
    'Memory for the records of compressed batches while they are decompressed, over all partitions; beyond, appends and reads of such batches wait.',
  ),
  partitionsTotalMax: integer(
    'count',
    storage.partitionsTotalMax,
    [1, 1_000_000],
    'Partitions of all topics together; a topic that would go above is refused (tooManyPartitions). Each that is appended to keeps two files open.',
  ),
  producersMax: integer(
    'count',
    storage.producersMax,
    [16, 1_000_000],
    'Producers remembered per partition to tell their retries; beyond, the least recent one is forgotten. Imports never are.',
  ),
  openSegmentsMax: integer(
    'count',
    storage.openSegmentsMax,
    [16, 100_000],
    'Sealed segments kept open for reading, over all partitions.',
  ),
  cleanIntervalMs: integer(
    'ms',
    storage.cleanIntervalMs,
    [100, 3_600_000],
    'How often partitions are looked at for what retention and compaction remove.',
  ),
  checkpointIntervalMs: integer(
    'ms',
    storage.checkpointIntervalMs,
    [100, 3_600_000],
    'How often indexes are saved while there are appends: what a restart reads again.',
  ),

  ...tierSettings,

  stopWaitMsMax: reloadable(
    integer(
      'ms',
      5_000,
      [0, 8_000],
      'On SIGTERM, how long requests in flight may take before their connections are closed.',
    ),
  ),
  ...securitySettings,
  ...loggingSettings,
} as const satisfies Record<string, BrokerSetting>

export type BrokerSettingName = keyof typeof brokerSettings
export type BrokerConfig = {
  readonly [K in BrokerSettingName]: ValueOfSetting<(typeof brokerSettings)[K]>
}
type ValueOfSetting<S> = S extends IntegerSetting ? number : S extends ChoiceSetting<infer V> ? V : string

/** What a source says: names as in the table, values as text or as JSON has them. */
export type RawSettings = Readonly<Record<string, unknown>>

/** Variables beginning with PLAYHEAD_ that are not settings of a broker. */
const foreignVariables = new Set([
  'PLAYHEAD_SERVER',
  'PLAYHEAD_TEST',
  'PLAYHEAD_SEED',
  // Who the command line is, and whom it trusts.
  'PLAYHEAD_USER',
  'PLAYHEAD_PASSWORD_FILE',
  'PLAYHEAD_TOKEN',
  'PLAYHEAD_TOKEN_FILE',
  'PLAYHEAD_AUTHORITY_FILE',
  'PLAYHEAD_CERTIFICATE_FILE',
  'PLAYHEAD_KEY_FILE',
])
/** What Kubernetes sets in every container beside a service called playhead… */
const kubernetesVariable = /_(SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(TCP|UDP)\w*)$/

/** What of the configuration storage uses; the rest of its settings have their defaults. */
export function storageSettings(config: BrokerConfig): StorageSettings {
  const {
    indexMemoryBytes,
    tailCacheBytes,
    readAheadBytes,
    decompressedBytesMax,
    decompressionBytesTotalMax,
    partitionsTotalMax,
    producersMax,
    openSegmentsMax,
    cleanIntervalMs,
    checkpointIntervalMs,
  } = config
  return {
    ...storage,
    indexMemoryBytes,
    tailCacheBytes,
    readAheadBytes,
    decompressedBytesMax,
    decompressionBytesTotalMax,
    partitionsTotalMax,
    producersMax,
    openSegmentsMax,
    cleanIntervalMs,
    checkpointIntervalMs,
  }
}

export interface ConfigSources {
  readonly file?: RawSettings | undefined
  readonly environment?: RawSettings | undefined
  readonly flags?: RawSettings | undefined
}

/** A setting as it is in force, and who says so. */
export interface ResolvedSetting {
  readonly value: string | number
  /** `default`, `config file: port`, `environment: PLAYHEAD_PORT`, `flag: --port`. */
  readonly source: string
}

/**
 * Checks what the sources say and fills in the defaults. Throws invalidConfiguration naming setting, value, range and source for an
 * unknown setting or a value out of range.
 */
export function resolveConfig(sources: ConfigSources): BrokerConfig {
  const values: Record<string, string | number> = {}
  for (const [name, { value }] of resolveSettings(sources)) values[name] = value
  return values as BrokerConfig
}

/** The same, with who says so; in the order of the table. */
export function resolveSettings(sources: ConfigSources): Map<BrokerSettingName, ResolvedSetting> {
  const resolved = new Map<string, ResolvedSetting>()
  for (const [name, setting] of Object.entries(brokerSettings))
    resolved.set(name, { value: setting.default, source: 'default' })
  const take = (name: string, value: unknown, source: string): void => {
    resolved.set(name, { value: checked(name, value, source), source })
  }
  for (const [name, value] of Object.entries(sources.file ?? {})) take(name, value, `config file: ${name}`)
  for (const [variable, value] of Object.entries(sources.environment ?? {})) {
    const name = settingOfVariable(variable, value)
    if (name !== undefined) take(name, value, `environment: ${variable}`)
  }
  for (const [name, value] of Object.entries(sources.flags ?? {}))
    if (value !== undefined) take(name, value, `flag: ${flagOf(name)}`)
  return resolved as Map<BrokerSettingName, ResolvedSetting>
}

/** `httpPort` → `--http-port`. */
export function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

/** `httpPort` → `PLAYHEAD_HTTP_PORT`. */
export function variableOf(name: string): string {
  return `PLAYHEAD_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
}

function settingOfVariable(variable: string, value: unknown): string | undefined {
  if (!variable.startsWith('PLAYHEAD_') || foreignVariables.has(variable) || kubernetesVariable.test(variable))
    return undefined
  if (variable === 'PLAYHEAD_PORT' && String(value).startsWith('tcp://')) return undefined
  const name = Object.keys(brokerSettings).find((candidate) => variableOf(candidate) === variable)
  if (name === undefined) throw unknownSetting(variable, 'environment', Object.keys(brokerSettings).map(variableOf))
  return name
}

function checked(name: string, value: unknown, source: string): string | number {
  if (!Object.hasOwn(brokerSettings, name)) throw unknownSetting(name, source, Object.keys(brokerSettings))
  const setting: BrokerSetting = brokerSettings[name as BrokerSettingName]
  if (setting.kind === 'text') {
    const shown = typeof value === 'string' ? shownValue(setting, value) : value
    if (typeof value === 'string' && (value !== '' || setting.default === '') && !value.includes('\0')) return value
    throw invalid(name, shown, 'a text that is not empty', source)
  }
  if (setting.kind === 'choice') {
    if (typeof value === 'string' && setting.values.includes(value)) return value
    throw invalid(name, value, `one of ${setting.values.join(', ')}`, source)
  }
  const number = typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value
  if (typeof number === 'number' && Number.isSafeInteger(number) && number >= setting.min && number <= setting.max)
    return number
  throw invalid(name, value, `an integer from ${setting.min} to ${setting.max} (${setting.unit})`, source)
}

function invalid(name: string, value: unknown, wanted: string, source: string): PlayheadError {
  return new PlayheadError(
    'invalidConfiguration',
    `setting ${name}: found ${JSON.stringify(value)}, wanted ${wanted} (${source}); docs/configuration.md lists all settings`,
    { setting: name, source },
  )
}

function unknownSetting(name: string, source: string, known: readonly string[]): PlayheadError {
  const nearest = nearestName(name, known)
  const meant = nearest === undefined ? '' : `; did you mean ${nearest}?`
  return new PlayheadError(
    'invalidConfiguration',
    `setting ${name}: found no setting of that name, wanted one of docs/configuration.md (${source})${meant}`,
    { setting: name, source, ...(nearest !== undefined && { nearest }) },
  )
}
