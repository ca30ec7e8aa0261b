// The density picture's end on the page: asks the worker, keeps its last answer, moves it while the view moves.

import { channels } from "viewer/graph/look.js";

const SCALE = 0.5;

/** The worker's address, through the one policy that may name a script. */
function workerAddress() {
  const embedded = document.getElementById("density-worker");
  const policy = (worker.policy ??= window.trustedTypes?.createPolicy("worker", { createScriptURL: (url) => url }));
  const url = embedded
    ? URL.createObjectURL(new Blob([embedded.textContent], { type: "text/javascript" }))
    : "/page/graph/density-worker.js";
  return policy ? policy.createScriptURL(url) : url;
}
const worker = { policy: null };

export class Density {
  constructor(onReady) {
    this.onReady = onReady;
    this.worker = new Worker(workerAddress());
    this.worker.onmessage = ({ data }) => this.answered(data);
    this.id = 0;
  }

  close() {
    this.worker.terminate();
    this.picture?.bitmap.close();
  }

  setCurves(curves, score) {
    this.worker.postMessage({ curves, score });
    this.picture?.bitmap.close();
    this.picture = null;
  }

  /** Have the picture of these edges made; of several asked for meanwhile, the last. */
  ask(edges, view, width, height, colors) {
    const size = { width: Math.ceil(width * SCALE), height: Math.ceil(height * SCALE) };
    const scaled = { k: view.k * SCALE, x: view.x * SCALE, y: view.y * SCALE };
    this.wanted = { edges: edges.slice(), view: scaled, ...size, ink: [...channels(colors.weak), 0.55] };
    this.send();
  }

  send() {
    if (this.isBusy || !this.wanted) return;
    this.isBusy = true;
    this.started = performance.now();
    this.worker.postMessage({ ...this.wanted, id: ++this.id });
    this.wanted = null;
  }

  answered({ bitmap, view }) {
    this.isBusy = false;
    this.milliseconds = performance.now() - this.started;
    this.picture?.bitmap.close();
    this.picture = { bitmap, view };
    this.send();
    this.onReady();
  }

  draw(ctx, view, alpha) {
    if (!this.picture) return;
    const { bitmap, view: made } = this.picture;
    const part = view.k / made.k;
    ctx.globalAlpha = alpha;
    ctx.drawImage(bitmap, view.x - made.x * part, view.y - made.y * part, bitmap.width * part, bitmap.height * part);
    ctx.globalAlpha = 1;
  }
}
