/** RowProblem: what is wrong with one row of an import, before anybody has said which row of which file it is. Not for callers outside. */
export class RowProblem extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'RowProblem'
  }
}
