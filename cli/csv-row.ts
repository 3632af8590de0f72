/**
 * CsvRow: the fields of one row as ranges of the file's bytes; nothing is copied. One object is used for all rows of a file: each holds
 * until the next is read. Filled by csv-rows.ts, read by csv-records.ts and row-json.ts.
 */
const CARRIAGE_RETURN = 0x0d
const firstFields = 64

export class CsvRow {
  bytes: Buffer = Buffer.alloc(0)
  /** Fields in use. */
  count = 0
  starts = new Int32Array(firstFields)
  ends = new Int32Array(firstFields)
  /** Not 0: the field holds a character that JSON writes differently. */
  escapes = new Uint8Array(firstFields)
  /** Where the row ends: its newline, or the end of the file. */
  end = 0

  add(start: number, end: number, escapes: number): void {
    if (this.count === this.starts.length) this.#grow()
    this.starts[this.count] = start
    this.ends[this.count] = end
    this.escapes[this.count] = escapes
    this.count++
  }

  text(index: number): string {
    return this.bytes.toString('utf8', this.starts[index], this.ends[index])
  }

  texts(): string[] {
    return Array.from({ length: this.count }, (_, index) => this.text(index))
  }

  isEmpty(index: number): boolean {
    return this.starts[index] === this.ends[index]
  }

  get endsInCarriageReturn(): boolean {
    return this.end > this.starts[0]! && this.bytes[this.end - 1] === CARRIAGE_RETURN
  }

  /** For a file with CRLF: what belongs to the line end is no part of the last field. Inside quotes it is. */
  dropCarriageReturn(): void {
    const last = this.count - 1
    if (this.ends[last] === this.end && !this.isEmpty(last) && this.bytes[this.end - 1] === CARRIAGE_RETURN) {
      this.ends[last] = this.end - 1
    }
  }

  #grow(): void {
    const { starts, ends, escapes } = this
    this.starts = new Int32Array(starts.length * 2)
    this.starts.set(starts)
    this.ends = new Int32Array(ends.length * 2)
    this.ends.set(ends)
    this.escapes = new Uint8Array(escapes.length * 2)
    this.escapes.set(escapes)
  }
}
