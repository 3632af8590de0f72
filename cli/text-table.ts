/** Tables and counts for people: columns as wide as they must be, numbers to the right. */

export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : cell)))
  const widths = head.map((title, column) => Math.max(title.length, ...texts.map((row) => row[column]!.length)))
  const toTheRight = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => (toTheRight[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd()
  return [line(head), ...texts.map(line)].join('\n')
}

/** `1 partition`, `541,909 records`, `2 batches`. */
export function withUnit(count: number, unit: string): string {
  const plural = unit.endsWith('ch') ? 'es' : 's'
  return `${grouped(count)} ${unit}${count === 1 ? '' : plural}`
}

/** `541,909`. */
export function grouped(count: number): string {
  return count.toLocaleString('en-US')
}

/** `7.5 MB`. */
export function bytesText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}
