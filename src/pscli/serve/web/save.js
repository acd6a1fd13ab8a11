(files) => {
  for (const { name, file } of JSON.parse(files || "[]")) {
    const link = document.createElement("a");
    link.href = `kept/${file}`;
    link.download = name;
    link.click();
  }
}
