/** Track: all events of the stream on one line, by time or by version, coloured by type, binned to the pixels there are, with the playhead on it. */
import { useEffect, useMemo, useRef } from '../vendor/hooks.js'
import { html } from '../ui.js'

const height = 84
const gapShareMax = 0.02

/** Where each event stands between 0 and 1. Long gaps are shortened: a night without customers says little. */
export function axisOf(times, scale, gaps) {
  const { length } = times
  const axis = new Float64Array(length)
  if (length < 2) return axis
  if (scale === 'version') return axis.map((_, index) => index / (length - 1))
  let latest = times[0]
  const cap = gaps === 'true' ? Infinity : Math.max(0, times.at(-1) - times[0]) * gapShareMax || Infinity
  for (let index = 1; index < length; index++) {
    axis[index] = axis[index - 1] + Math.min(Math.max(0, times[index] - latest), cap)
    latest = Math.max(latest, times[index])
  }
  const end = axis[length - 1]
  return end === 0 ? axis.map((_, index) => index / (length - 1)) : axis.map((place) => place / end)
}

/** A colour for a type that is the same on every page, and readable on light and dark. */
export function colourOf(type) {
  let hash = 7
  for (let index = 0; index < type.length; index++) hash = (hash * 31 + type.charCodeAt(index)) >>> 0
  return `hsl(${(hash * 137) % 360} 55% 50%)`
}

export function placeAt(axis, share) {
  let low = 0
  let high = axis.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (axis[middle] <= share) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}

export function Track({ history, count, at, compare, scale, gaps, onSeek, label }) {
  const canvas = useRef(null)
  const axis = useMemo(() => axisOf(history.times, scale, gaps), [history, count, scale, gaps])
  useEffect(() => {
    const { current } = canvas
    const draw = () => drawTrack(current, { history, axis, at, compare })
    draw()
    const resized = new ResizeObserver(draw)
    resized.observe(current)
    return () => resized.disconnect()
  }, [axis, at, compare, document.documentElement.dataset.theme])
  const frame = useRef({ share: undefined, isAsked: false })
  const seek = ({ clientX }) => {
    const { left, width } = canvas.current.getBoundingClientRect()
    frame.current.share = Math.min(1, Math.max(0, (clientX - left) / width))
    if (frame.current.isAsked) return
    frame.current.isAsked = true
    requestAnimationFrame(() => {
      frame.current.isAsked = false
      onSeek(placeAt(axis, frame.current.share))
    })
  }
  const down = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId)
    event.currentTarget.focus()
    seek(event)
  }
  const times = history.times
  return html`<div class="track" role="slider" tabindex="0" aria-label="Moment" aria-valuemin="0" aria-valuemax=${Math.max(0, count - 1)} aria-valuenow=${Math.max(0, at)} aria-valuetext=${label}
    onPointerDown=${down} onPointerMove=${(event) => event.buttons === 1 && seek(event)}>
    <canvas ref=${canvas} height=${height}></canvas>
    <div class="ends"><span>${isoDay(times[0])}</span><span>${isoDay(times[count - 1])}</span></div></div>`
}

function isoDay(ms) {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 16).replace('T', ' ') : ''
}

function drawTrack(canvas, { history, axis, at, compare }) {
  const ratio = devicePixelRatio || 1
  const width = Math.max(50, Math.round(canvas.clientWidth * ratio))
  const tall = Math.round(height * ratio)
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== tall) canvas.height = tall
  const context = canvas.getContext('2d')
  context.clearRect(0, 0, width, tall)
  const binWidth = Math.max(1, Math.round(2 * ratio))
  const bins = Math.ceil(width / binWidth)
  const counts = new Uint32Array(bins)
  const first = new Int32Array(bins).fill(-1)
  let most = 1
  for (let index = 0; index < axis.length; index++) {
    const bin = Math.min(bins - 1, Math.floor(axis[index] * (bins - 1)))
    counts[bin]++
    if (first[bin] < 0) first[bin] = index
    if (counts[bin] > most) most = counts[bin]
  }
  const style = getComputedStyle(document.documentElement)
  for (let bin = 0; bin < bins; bin++) {
    if (counts[bin] === 0) continue
    const bar = Math.max(4 * ratio, (tall - 6 * ratio) * Math.sqrt(counts[bin] / most))
    context.globalAlpha = first[bin] > at ? 0.3 : 1
    context.fillStyle = colourOf(history.types[first[bin]] ?? '')
    context.fillRect(bin * binWidth, tall - bar, binWidth, bar)
  }
  context.globalAlpha = 1
  const line = (place, colour) => {
    const x = Math.round((axis[place] ?? 0) * (bins - 1)) * binWidth
    context.fillStyle = colour
    context.fillRect(x, 0, 2 * ratio, tall)
    context.beginPath()
    context.moveTo(x - 5 * ratio, 0)
    context.lineTo(x + 7 * ratio, 0)
    context.lineTo(x + ratio, 9 * ratio)
    context.fill()
  }
  if (compare !== undefined && compare >= 0) line(compare, style.getPropertyValue('--accent'))
  if (at >= 0) line(at, style.getPropertyValue('--head'))
}
