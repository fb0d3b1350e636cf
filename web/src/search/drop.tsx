// The whole page takes a dropped sound.

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { askWithSound } from "../question";
import { toast } from "../toasts";
import { Icon } from "../ui";

const over = signal(false);

const holdsFiles = (event: DragEvent): boolean =>
  event.dataTransfer?.types.includes("Files") ?? false;

export function DropTarget() {
  useEffect(() => {
    let depth = 0; // of elements the pointer has entered and not left: each fires its own events
    const listen: Record<string, (event: DragEvent) => void> = {
      dragenter: (event) => {
        if (!holdsFiles(event)) return;
        depth += 1;
        over.value = true;
      },
      dragleave: (event) => {
        if (!holdsFiles(event)) return;
        depth -= 1;
        over.value = depth > 0;
      },
      dragover: (event) => {
        if (holdsFiles(event)) event.preventDefault();
      },
      drop: (event) => {
        depth = 0;
        over.value = false;
        if (!holdsFiles(event)) return;
        event.preventDefault(); // else the browser would open the file in place of the page
        take(event.dataTransfer?.files);
      },
    };
    for (const [name, heard] of Object.entries(listen))
      addEventListener(name, heard as EventListener);
    return () => {
      for (const [name, heard] of Object.entries(listen)) {
        removeEventListener(name, heard as EventListener);
      }
    };
  }, []);
  if (!over.value) return null;
  return (
    <div class="drop" aria-hidden="true" data-testid="drop">
      <div class="drop-inside">
        <Icon name="sound" size={48} />
        <p>Drop it to find music like it</p>
      </div>
    </div>
  );
}

function take(files: FileList | undefined): void {
  const [first] = files ?? [];
  if (!first) return;
  if (files && files.length > 1) toast(`One sound at a time: taking ${first.name}.`);
  void askWithSound(first);
}
