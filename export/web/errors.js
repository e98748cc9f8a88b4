/** An error whose text is for the user. */
export class UserError extends Error {
  /**
   * @param {string} message What happened and what to do.
   * @param {{needsToken?: boolean}} options `needsToken`: the server wants its token.
   */
  constructor(message, { needsToken = false } = {}) {
    super(message);
    this.needsToken = needsToken;
  }
}
