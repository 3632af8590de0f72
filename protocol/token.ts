/**
 * Token: how far a reply has seen a partition. A read that carries it in `after` waits until that much is committed: read your writes.
 * `endOffset` is exclusive: the high watermark taken before the first record was chosen, or the end of the append.
 */
import { int, struct, text } from './header-schema.ts'
import type { ValueOf } from './header-schema.ts'

export const token = struct({ topicId: text(36), partition: int(), endOffset: int() })

export type Token = ValueOf<typeof token>
