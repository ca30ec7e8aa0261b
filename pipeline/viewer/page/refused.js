// An answer that was refused: the reason, the way out, and what else the server said.

export class Refused extends Error {
  constructor({ message, way_out: wayOut = "", ...details }, status = 0) {
    super(message);
    Object.assign(this, { wayOut, status, details });
  }
}
