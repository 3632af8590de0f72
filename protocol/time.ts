/** Times as people write them: ISO-8601, or seconds or milliseconds since the epoch. UTC where no zone is given. */
import { PlayheadError } from './errors.ts'

/** The farthest from the epoch, in ms, that a time may be: 142,600 years, so that the difference of any two is a safe integer. */
export const timestampMax = 4.5e15

/** Whole numbers below this are seconds (up to the year 5138), others milliseconds (from 1973 on). */
const SECONDS_BELOW = 1e11

/** `2011` and `20110601` are meant as dates; as seconds they would silently be a day in 1970. */
const looksLikeDate = /^(19|20)\d\d((0[1-9]|1[0-2])([0-2]\d|3[01]))?$/

const isoTime =
  /^(?<year>\d{4}|[+-]\d{6})-(?<month>\d\d)-(?<day>\d\d)(?:[T ](?<hour>\d\d):(?<minute>\d\d)(?::(?<second>\d\d)(?:[.,](?<fraction>\d{1,9}))?)? ?(?<zone>Z|[+-]\d\d(?::?\d\d)?)?)?$/i

/**
 * A time in ms since the epoch, from `2011-06-01`, `2011-06-01T12:00`, `2011-06-01 12:00:00.5+02:00`, `1306929600` (s) or
 * `1306929600000` (ms). Throws invalidArgument for anything else, and for days and hours that do not exist.
 */
export function parseTime(text: string): number {
  const trimmed = text.trim()
  if (/^-?\d{1,16}$/.test(trimmed)) return epochTime(trimmed, text)
  const parts = isoTime.exec(trimmed)?.groups
  if (parts === undefined) throw invalidTime(text)
  const { year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone = 'Z' } = parts
  const date = new Date(0)
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day)) // unlike Date.UTC this takes years below 100 as they are
  date.setUTCHours(Number(hour), Number(minute), Number(second), Number(fraction.slice(0, 3).padEnd(3, '0')))
  const exists =
    date.getUTCMonth() === Number(month) - 1 &&
    date.getUTCDate() === Number(day) &&
    Number(hour) < 24 &&
    Number(minute) < 60 &&
    Number(second) < 60 &&
    Math.abs(zoneMs(zone)) < DAY_MS
  const time = date.getTime() - zoneMs(zone)
  if (!exists || !(Math.abs(time) <= timestampMax)) throw invalidTime(text)
  return time
}

/** ISO-8601 in UTC with milliseconds; a foreign timestamp farther from the epoch than timestampMax is shown as that. */
export function formatTime(timestampMs: number): string {
  const time = Math.trunc(Math.max(-timestampMax, Math.min(timestampMax, timestampMs)))
  const day = Math.floor(time / DAY_MS)
  if (day !== lastDay) {
    lastDay = day
    lastDate = new Date(day * DAY_MS).toISOString().slice(0, -'00:00:00.000Z'.length)
  }
  const ms = time - day * DAY_MS
  const hour = twoDigits[Math.floor(ms / 3_600_000)]!
  const minute = twoDigits[Math.floor(ms / 60_000) % 60]!
  const second = twoDigits[Math.floor(ms / 1000) % 60]!
  const rest = ms % 1000
  return `${lastDate}${hour}:${minute}:${second}.${rest < 100 ? '0' : ''}${twoDigits[rest] ?? rest}Z`
}

/** Date.toISOString takes a quarter of the time of decoding an event; events that follow each other are mostly of one day. */
const DAY_MS = 86_400_000
let lastDay = Number.NaN
let lastDate = ''
/** `00` to `99`. */
const twoDigits: readonly string[] = Array.from({ length: 100 }, (_, number) => String(number).padStart(2, '0'))

function epochTime(digits: string, text: string): number {
  const number = Number(digits)
  const time = Math.abs(number) < SECONDS_BELOW ? number * 1000 : number
  if (Math.abs(time) > timestampMax || looksLikeDate.test(digits)) throw invalidTime(text)
  return time
}

function zoneMs(zone: string): number {
  if (zone === 'Z' || zone === 'z') return 0
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(':', '') || '0')
  return (zone.startsWith('-') ? -1 : 1) * minutes * 60_000
}

function invalidTime(text: string): PlayheadError {
  return new PlayheadError(
    'invalidArgument',
    `time: found ${JSON.stringify(text.slice(0, 64))}, wanted ISO-8601 (2011-06-01T12:00:00Z; UTC when no zone is given) or seconds or milliseconds since the epoch`,
  )
}
