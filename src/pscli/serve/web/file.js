// A talk that was saved: read here, and sent as text.
const input = element.querySelector("input");
input.addEventListener("change", async () => {
  const file = input.files[0];
  if (!file) return;
  props.value = file.size > Number(input.dataset.most) ? "" : await file.text();
  input.value = "";
  trigger("upload");
});
