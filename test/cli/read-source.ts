/** What a record source makes of a text that comes in pieces: its records, or the error that names the line. */
import type { RecordBlock, RecordSource } from '../../cli/record-source.ts'
import { RowProblem } from '../../cli/row-problem.ts'
import type { RecordInput } from '../../protocol/record.ts'

export function readSource(source: RecordSource, pieces: Iterable<string>): RecordInput[] {
  const records: RecordInput[] = []
  const take = (block: RecordBlock): void => {
    for (let index = 0; index < block.length; index++) {
      try {
        const record = block.recordAt(index)
        if (record !== undefined) records.push(record)
      } catch (error) {
        if (error instanceof RowProblem)
          throw new Error(`line ${block.lineOf(index)}: ${error.message}`, { cause: error })
        throw error
      }
    }
    if (block.problem) throw new Error(`line ${block.lineOf(block.length)}: ${block.problem.message}`)
  }
  for (const piece of pieces) take(source.push(piece))
  take(source.end())
  return records
}
