/**
 * hasty: how work in slices of about 2 ms shares the event loop with appends. Where there is time, each slice has a turn of its own; the more haste, the
 * more slices go into one turn. A turn in which appends are taken in lasts tens of milliseconds on a loaded broker, so one slice each would be a tenth of its time.
 * Neighbours: IndexMemory says how much haste a save has, Sealing how much a sidecar.
 */
import type { Yielding } from '../platform/clock.ts'

/** `haste`: how many slices may go into one turn. */
export function hasty(clock: Yielding, haste: () => number): Yielding {
  let slices = 0
  return {
    yield() {
      slices++
      if (slices < haste()) return inTime
      slices = 0
      return clock.yield()
    },
  }
}

const inTime = Promise.resolve()
