/** Another MemoryCheckpointStore with the same contents, for tests that open what was written once again and again. */
import type { CheckpointStore } from '../../storage/checkpoint-store.ts'
import { MemoryCheckpointStore } from '../../storage/memory-checkpoint-store.ts'

export async function copyOf(store: CheckpointStore): Promise<CheckpointStore> {
  const copy = new MemoryCheckpointStore()
  await copy.write(store.range(Buffer.alloc(0), Buffer.alloc(20, 0xff), { limit: 1e6 }))
  return copy
}
