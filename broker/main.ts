/**
 * serve: one broker as a process, for the command line. Reads the configuration, starts, says on stdout that it is ready and nothing
 * after that, stops on SIGTERM or SIGINT. Called by cli/, calls Broker.
 */
import { resolve } from 'node:path'
import { sleep, systemClock } from '../platform/clock.ts'
import { nodeFileSystem } from '../platform/node-file-system.ts'
import { PlayheadError } from '../protocol/errors.ts'
import { Broker } from './broker.ts'
import { configDoc } from './config-explain.ts'
import { resolveConfig } from './config.ts'
import type { BrokerConfig, ConfigSources, RawSettings } from './config.ts'
import { IdleMemory, processHeap } from './idle-memory.ts'
import { BrokerLog } from './logging.ts'
import { exposureText } from './security/exposure.ts'

/** All that a stop may take; then the process ends as it is, which recovery can take. */
const stopMsMax = 9_000
/** Supervisors and shells often send a signal twice: the second one within this time says nothing new. */
const sameSignalMs = 1_000

export interface ServeOptions {
  /** Settings given as flags, under their names in brokerSettings: `{ data: 'shop', httpPort: '8080' }`. */
  readonly flags: RawSettings
  /** A JSON file of settings. */
  readonly configFile?: string | undefined
  readonly environment?: RawSettings
  /** The ready line as JSON instead of a banner. */
  readonly json: boolean
}

/** Runs until SIGTERM or SIGINT; resolves with the exit code. Throws as Broker.start does. */
export async function serve({ flags, configFile, environment = process.env, json }: ServeOptions): Promise<number> {
  // Nobody may be left to read what we say; that is no reason to stop serving.
  process.stderr.on('error', () => {})
  process.stdout.on('error', () => {})
  const signals = new Signals()
  const sources = () => readSources({ flags, configFile, environment })
  const config = withPaths(resolveConfig(await sources()))
  const log = new BrokerLog({ ...config, isTerminal: process.stderr.isTTY, now: () => systemClock.now() })
  const { report } = log
  signals.stop = () => {
    report('info', 'stopped while starting')
    // Nothing was promised to anybody yet, and recovery can be cut short anywhere.
    process.exit(0)
  }
  signals.report = report
  const broker = await Broker.start(config, { report })
  process.on('SIGHUP', () => {
    void reload(broker, log, sources)
  })
  const stopping = new Promise<void>((resolveStopping) => {
    signals.stop = resolveStopping
  })
  const heap = processHeap(systemClock)
  using _ = heap && new IdleMemory(heap, systemClock)
  process.stdout.write(json ? readyLine(broker) : banner(broker, exposureText(config)))
  await stopping
  report('info', 'stopping')
  return stopInTime(broker, report)
}

/** Calls `stop` at the first SIGTERM or SIGINT. Never given up: a late second signal must not end a process that is about to end well. */
class Signals {
  stop: () => void = () => process.exit(0)
  report: BrokerLog['report'] = () => {}
  #firstMs: number | undefined

  constructor() {
    process.on('SIGTERM', this.#receive)
    process.on('SIGINT', this.#receive)
  }

  readonly #receive = (): void => {
    const nowMs = systemClock.monotonicMs()
    if (this.#firstMs === undefined) {
      this.#firstMs = nowMs
      this.stop()
    } else if (nowMs - this.#firstMs > sameSignalMs) {
      this.report('warn', 'second signal: ending at once')
      process.exit(1)
    }
  }
}

/** What is wrong with the file changes nothing: the broker goes on as it is. */
async function reload(broker: Broker, log: BrokerLog, sources: () => Promise<ConfigSources>): Promise<void> {
  try {
    const config = withPaths(resolveConfig(await sources()))
    const { changed, waiting } = await broker.reload(config)
    log.level = config.logLevel
    const later = waiting.length === 0 ? '' : `; for a restart: ${waiting.join(', ')}`
    log.report(
      'info',
      `configuration read again: changed ${changed.length === 0 ? 'nothing' : changed.join(', ')}${later}`,
    )
  } catch (error) {
    log.report('warn', `configuration not changed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** All settings with what is in force, who says so and what they do; or one of them. Throws invalidConfiguration. */
export async function explainConfig(
  options: Pick<ServeOptions, 'flags' | 'configFile' | 'environment'>,
  name: string | undefined,
) {
  return configDoc(await readSources(options), name)
}

async function readSources({
  flags,
  configFile,
  environment = process.env,
}: Pick<ServeOptions, 'flags' | 'configFile' | 'environment'>): Promise<ConfigSources> {
  return { file: configFile === undefined ? {} : await readConfigFile(configFile), environment, flags }
}

function withPaths(config: BrokerConfig): BrokerConfig {
  return { ...config, data: resolve(config.data) }
}

async function stopInTime(broker: Broker, report: BrokerLog['report']): Promise<number> {
  const done = new AbortController()
  const overdue = sleep(systemClock, stopMsMax, done.signal).then(
    () => {
      report('warn', `not stopped after ${stopMsMax} ms: ending as it is; nothing acknowledged is lost`)
      return 1
    },
    () => 0,
  )
  try {
    return await Promise.race([broker.stop().then(() => 0), overdue])
  } finally {
    done.abort()
  }
}

async function readConfigFile(path: string): Promise<RawSettings> {
  const text = await readText(path)
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw configFileError(path, error instanceof Error ? error.message : 'no JSON')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw configFileError(path, 'no object')
  return { ...parsed }
}

async function readText(path: string): Promise<string> {
  try {
    const file = await nodeFileSystem.open(path, 'read')
    try {
      const bytes = Buffer.alloc(await file.sizeBytes())
      return bytes.toString('utf8', 0, await file.read(bytes, 0))
    } finally {
      await file.close()
    }
  } catch (error) {
    throw configFileError(path, error instanceof Error ? error.message : String(error))
  }
}

function configFileError(path: string, found: string): PlayheadError {
  const message = `config file ${path}: found ${found}, wanted a JSON object of settings such as {"port": 7420}`
  return new PlayheadError('invalidConfiguration', message, { file: path })
}

function readyLine({ port, httpPort, dataDirectory }: Broker): string {
  return `${JSON.stringify({ event: 'ready', port, httpPort, dataDir: dataDirectory })}\n`
}

function banner({ port, httpPort, dataDirectory }: Broker, exposure: string): string {
  const server = port === 7420 ? '' : ` --server localhost:${port}`
  return `Playhead is ready: port ${port}, HTTP ${httpPort}, data in ${dataDirectory}
${exposure === '' ? '' : `  ${exposure}\n`}
  try next, in another terminal:
    playhead topic create carts${server}
    playhead append carts customer-1 --type ItemAdded --data '{"sku":"85123A","quantity":6}'${server}
    playhead read carts customer-1${server}
    playhead demo
  stop with Ctrl-C

`
}
