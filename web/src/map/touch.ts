/**
 * Fingers for a plot that knows only a mouse: one finger is its button, two are its wheel.
 */

interface Finger {
  x: number;
  y: number;
}

function mouse(target: EventTarget, type: string, at: Finger, pressed: boolean): void {
  const where = { clientX: at.x, clientY: at.y, screenX: at.x, screenY: at.y };
  const options = { ...where, bubbles: true, cancelable: true, buttons: pressed ? 1 : 0 };
  target.dispatchEvent(new MouseEvent(type, options));
}

function spread(fingers: Finger[]): number {
  const [a, b] = fingers as [Finger, Finger];
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function middle(fingers: Finger[]): Finger {
  const [a, b] = fingers as [Finger, Finger];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
}

/** Turn the canvas' touches into mouse events; two fingers pan and zoom at once. */
export function fingersAsMouse(canvas: HTMLCanvasElement): void {
  const fingers = new Map<number, Finger>();
  let pressed = false;
  let waiting = 0;
  let pinched = false;

  const down = (at: Finger): void => {
    waiting = 0;
    mouse(canvas, "mousedown", at, true);
    pressed = true;
  };
  // The plot reckons from where its mouse was in the last frame: let it see the place first.
  const press = (at: Finger): void => {
    mouse(window, "mousemove", at, false);
    waiting = requestAnimationFrame(() => {
      waiting = requestAnimationFrame(() => down(at));
    });
  };
  const release = (at: Finger, tapped: boolean): void => {
    cancelAnimationFrame(waiting);
    if (tapped && !pressed) down(at);
    if (pressed) mouse(window, "mouseup", at, false);
    pressed = false;
    waiting = 0;
  };
  const pinch = (before: Finger[], now: Finger[]): void => {
    pinched = true;
    const at = middle(now);
    const deltaY = -Math.log(spread(now) / Math.max(1, spread(before))) * canvas.clientHeight;
    mouse(window, "mousemove", at, false);
    const where = { clientX: at.x, clientY: at.y, bubbles: true, cancelable: true };
    canvas.dispatchEvent(new WheelEvent("wheel", { ...where, deltaY }));
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch") return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const at = { x: event.clientX, y: event.clientY };
    fingers.set(event.pointerId, at);
    if (fingers.size === 1) press(at);
    else release(at, false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    const at = { x: event.clientX, y: event.clientY };
    fingers.set(event.pointerId, at);
    if (fingers.size === 1 && pressed) mouse(window, "mousemove", at, true);
    else if (fingers.size === 2) pinch(before, [...fingers.values()]);
  });
  const lift = (event: PointerEvent): void => {
    if (!fingers.delete(event.pointerId)) return;
    const tapped = fingers.size === 0 && !pinched && event.type === "pointerup";
    release({ x: event.clientX, y: event.clientY }, tapped);
    if (fingers.size === 0) pinched = false;
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
}
