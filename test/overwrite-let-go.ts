/** A piece of memory that all have let go of is overwritten at once, so that whoever still looks at it is found. For tests of what runs over frames. */
import { FrameMemory } from '../protocol/frame-memory.ts'

export function overwriteLetGo(): void {
  FrameMemory.onTakenBack = (bytes) => void bytes.fill(0xdd)
}
