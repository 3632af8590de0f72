/** Values of flags: text in, checked values out. What is malformed is wrong usage: exit code 2. */
import { parseTime } from '../protocol/time.ts'
import { UsageError } from './failure-report.ts'

export function integerOf(flag: string, text: string, least: number): number {
  const number = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(number) && number >= least) return number
  throw new UsageError(`${flag}: found ${JSON.stringify(text)}, wanted an integer ≥ ${least}`)
}

export function secondsOf(flag: string, text: string): number {
  const number = /^\d{1,9}(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (number > 0) return number
  throw new UsageError(`${flag}: found ${JSON.stringify(text)}, wanted seconds above 0`)
}

/** `none`, `any` or a version; anything else is left to the client to refuse, by its name invalidExpectedVersion. */
export function expectedVersionOf(text: string): number | 'none' | 'any' {
  if (text === 'none' || text === 'any') return text
  return /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN
}

/** Checked here, sent as given. */
export function timeOf(flag: string, text: string): string {
  try {
    parseTime(text)
    return text
  } catch {
    throw new UsageError(
      `${flag}: found ${JSON.stringify(text)}, wanted ISO-8601 (2011-06-01T12:00:00Z; UTC when no zone is given) or seconds or milliseconds since the epoch`,
    )
  }
}

/** `start`, `end`, digits for an offset, or a time, which has a '-' or a 'T'. */
export function placeOf(flag: string, text: string): number | string {
  if (text === 'start' || text === 'end') return text
  if (/^\d+$/.test(text)) return integerOf(flag, text, 0)
  try {
    parseTime(text)
    return text
  } catch {
    throw new UsageError(
      `${flag}: found ${JSON.stringify(text)}, wanted start, end, an offset (digits) or a time (2011-06-01T12:00:00Z)`,
    )
  }
}

/** `key=value` pairs as settings. */
export function settingsOf(flag: string, pairs: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at <= 0) throw new UsageError(`${flag}: found ${JSON.stringify(pair)}, wanted key=value`)
    settings[pair.slice(0, at)] = pair.slice(at + 1)
  }
  return settings
}

/** `1,2,3`. */
export function brokerIdsOf(flag: string, text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) {
    throw new UsageError(
      `${flag}: found ${JSON.stringify(text)}, wanted ids of brokers with commas between them: 1,2,3`,
    )
  }
  return text.split(',').map((id) => integerOf(flag, id, 0))
}
