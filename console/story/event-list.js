/** Event list: as many rows as are seen, of however many events there are. */
import { useEffect, useRef, useState } from '../vendor/hooks.js'
import { html } from '../ui.js'
import { colourOf } from './track.js'

export const rowHeight = 34
const rowsBeyond = 8

export function EventList({ count, first = 0, at, rows, onRange, onSeek }) {
  const box = useRef(null)
  const [top, setTop] = useState(0)
  const shown = Math.ceil((box.current?.clientHeight ?? 420) / rowHeight)
  const from = Math.max(0, first + Math.floor(top / rowHeight) - rowsBeyond)
  const to = from + shown + 2 * rowsBeyond
  useEffect(() => onRange(from, to), [from, to, count])
  // The event shown stays in sight.
  useEffect(() => {
    const { current } = box
    if (!current || at < 0) return
    const y = (at - first) * rowHeight
    if (y < current.scrollTop || y + rowHeight > current.scrollTop + current.clientHeight)
      current.scrollTop = y - current.clientHeight / 2
  }, [at, count > 0])
  return html`<div class="events" ref=${box} onScroll=${(event) => setTop(event.target.scrollTop)} aria-label="Events" role="list"><div class="all" ref=${(element) => element && ((element.style.height = `${(count - first) * rowHeight}px`))}>
    ${rows.filter(({ index }) => index >= first && index < count).map((row) => html`<${Row} key=${row.index} row=${row} y=${(row.index - first) * rowHeight} state=${row.index === at ? 'at' : row.index > at ? 'later' : ''} onSeek=${onSeek} />`)}
  </div></div>`
}

function Row({ row, y, state, onSeek }) {
  const { index, version, type, timestamp, text } = row
  const place = (element) => {
    if (!element) return
    element.style.top = `${y}px`
    element.style.setProperty('--type-colour', colourOf(type ?? ''))
  }
  return html`<div role="listitem"><button type="button" tabindex="-1" class=${`event ${state}`} ref=${place} aria-current=${state === 'at' ? 'true' : undefined} onClick=${() => onSeek(index)}>
    <span class="version">${version}</span><span class="swatch"></span><span class="what"><b>${type ?? 'no type'}</b> <span class="when">${timestamp.slice(0, 19).replace('T', ' ')}</span> <span class="mono quiet">${text}</span></span></button></div>`
}
