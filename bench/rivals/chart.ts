/**
 * Chart: the throughput lines of a page as an SVG of plain paired bars; each pair has a scale of its own, since reading 100 B and writing
 * 1 KiB have none in common. Pure. Legible on light and dark pages: text and bars have colours for both. Called by page.ts.
 */
import type { Line } from './result.ts'
import { throughputText } from './wording.ts'

export interface ChartLine extends Line {
  readonly peer: string
}

const width = 860
const labelWidth = 330
const barsWidth = 380
const rowHeight = 40
const barHeight = 13
const headHeight = 44

export function chartOf(lines: readonly ChartLine[]): string {
  const height = headHeight + lines.length * rowHeight + 8
  const title = 'Throughput, Playhead and its peers on one machine'
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}">
<title>${title}</title>
<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .quiet { fill: #59636e }
  .ours { fill: #0a7d5a }
  .theirs { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .quiet { fill: #9198a1 }
    .ours { fill: #3fb68b }
    .theirs { fill: #6e7681 }
  }
</style>
<rect class="ours" x="${labelWidth}" y="12" width="12" height="12"/><text x="${labelWidth + 18}" y="22">Playhead, synced before every acknowledgement</text>
<rect class="theirs" x="${labelWidth}" y="28" width="12" height="12"/><text x="${labelWidth + 18}" y="38">the peer</text>
${lines.map((line, index) => pairOf(line, headHeight + index * rowHeight)).join('\n')}
</svg>
`
}

function pairOf({ peer, work, tool, durability, ours, theirs }: ChartLine, top: number): string {
  const most = Math.max(ours.median, theirs.median)
  const bar = (side: string, value: number, y: number): string => {
    const length = Math.max(1, Math.round((value / most) * barsWidth))
    const text = `<text x="${labelWidth + length + 6}" y="${y + 11}">${throughputText(value)}</text>`
    return `<rect class="${side}" x="${labelWidth}" y="${y}" width="${length}" height="${barHeight}"/>${text}`
  }
  const label = `${peer}${durability === 'durable' ? ', durable' : ''}: ${work}`
  return [
    `<text x="0" y="${top + 15}">${escape(label)}</text><text class="quiet" x="0" y="${top + 30}">${escape(tool)}</text>`,
    bar('ours', ours.median, top + 4),
    bar('theirs', theirs.median, top + 5 + barHeight),
  ].join('\n')
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
