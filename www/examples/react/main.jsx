// React 19 sets attributes and properties of custom elements, and `on` + an event's name listens to it.
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";

function App() {
  const [prompt, setPrompt] = useState("a strawberry on a beach");
  const [picture, setPicture] = useState(null);
  return (
    <>
      <label>
        Prompt <input id="prompt" value={prompt} onChange={(event) => setPrompt(event.target.value)} />
      </label>
      <fraise-painter
        model="../../models/fraise-1/manifest.json"
        prompt={prompt}
        steps={2}
        device="cpu"
        onfraise-result={(event) => setPicture(event.detail)}
      />
      {picture && <p id="made">{`${picture.request.prompt}, ${picture.width} x ${picture.height}`}</p>}
    </>
  );
}

createRoot(document.getElementById("app")).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
