/** Narration: how the demo speaks: numbered steps, indented lines, plain text that reads the same in a terminal, a pipe and a log. */
export interface Narration {
  /** A line of output; written to stdout by the command, collected by tests. */
  write(line: string): void
}

export function step(narration: Narration, number: number, title: string): void {
  narration.write('')
  narration.write(`${number}. ${title}`)
}

export function say(narration: Narration, text: string): void {
  narration.write(`   ${text}`)
}

/** Rows under their heads; the first column to the left, all others to the right. */
export function table(narration: Narration, heads: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = heads.map((head, column) => Math.max(head.length, ...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of [heads, ...rows]) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
    )
    say(narration, cells.join('   '))
  }
}

export function count(number: number): string {
  return Math.round(number).toLocaleString('en-GB')
}

export function pounds(pence: number): string {
  return (pence / 100).toLocaleString('en-GB', { style: 'currency', currency: 'GBP' })
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`
}
