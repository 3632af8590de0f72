/** How figures are written for people: on the page, in the chart, on the terminal. Pure. */
import type { Side } from './figure.ts'
import type { Line } from './result.ts'

/** Records a second, three significant digits. */
export function throughputText(recordsPerSecond: number): string {
  const [value, unit] =
    recordsPerSecond >= 1e6
      ? [recordsPerSecond / 1e6, 'M/s']
      : recordsPerSecond >= 1e3
        ? [recordsPerSecond / 1e3, 'k/s']
        : [recordsPerSecond, '/s']
  return `${digits(value)} ${unit}`
}

export function ratioText(ratio: number): string {
  return `${digits(ratio)}x`
}

/** The median, what is measured with it, and how far the rounds lay apart. */
export function sideText({ metric, recordBytes }: Line, { median, spread, figures }: Side): string {
  const apart = figures.length > 1 ? ` ±${Math.round((spread / 2) * 100)} %` : ''
  if (metric !== 'recordsPerSecond') return `${digits(median)} ms${apart}`
  const megabytes = (median * recordBytes) / 1e6
  return `${throughputText(median)} (${digits(megabytes)} MB/s)${apart}`
}

function digits(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(value >= 10 ? 3 : value >= 1 ? 3 : 2)
}
