/**
 * Logging: one line on stderr for each noteworthy thing. JSON by pino for programs, text for people; no payloads and no secrets, as no caller puts one into a
 * message. Written at once and in order, so that the last line before an end is there.
 * Called by main.ts.
 */
import { destination, pino, stdTimeFunctions } from 'pino'
import type { Logger } from 'pino'
import type { ReportLevel } from './parts.ts'
import type { BrokerConfig } from './config.ts'
import { release } from './release.ts'

const stderrDescriptor = 2
const severity: Record<BrokerConfig['logLevel'], number> = { info: 0, warn: 1, error: 2, silent: 3 }

export interface LogOptions {
  readonly logFormat: BrokerConfig['logFormat']
  readonly logLevel: BrokerConfig['logLevel']
  readonly isTerminal: boolean
  readonly now: () => number
}

export class BrokerLog {
  #level: BrokerConfig['logLevel']
  readonly #write: (level: ReportLevel, message: string) => void

  constructor({ logFormat, logLevel, isTerminal, now }: LogOptions) {
    this.#level = logLevel
    const isText = logFormat === 'text' || (logFormat === 'auto' && isTerminal)
    if (isText) {
      this.#write = (level, message) => {
        process.stderr.write(`${new Date(now()).toISOString()} ${level} ${message}\n`)
      }
    } else {
      const logger = jsonLogger()
      this.#write = (level, message) => logger[level](message)
    }
  }

  /** From the next line on. */
  set level(level: BrokerConfig['logLevel']) {
    this.#level = level
  }

  readonly report = (level: ReportLevel, message: string): void => {
    if (severity[level] >= severity[this.#level]) this.#write(level, message)
  }
}

function jsonLogger(): Logger {
  const output = destination({ fd: stderrDescriptor, sync: true })
  output.on('error', () => {}) // nobody is left to read what we say; that is no reason to stop serving
  return pino(
    {
      base: { pid: process.pid, release },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    output,
  )
}
